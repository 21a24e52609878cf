mod cursors;
mod order;
