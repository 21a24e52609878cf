-- Of a redrive: the state that children which did not succeed begin at.
ALTER TABLE map_runs ADD COLUMN from_state TEXT;

-- Ticks of schedules that failed for good are few among the messages of queues.
CREATE INDEX messages_tick ON messages (queue) WHERE d_id IS NULL AND error_code IS NOT NULL;
