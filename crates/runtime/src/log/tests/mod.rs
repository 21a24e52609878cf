mod cursors;
mod keeping;
mod order;
