-- Of a redrive: the state that children which did not succeed begin at.
ALTER TABLE map_runs ADD COLUMN from_state TEXT;
