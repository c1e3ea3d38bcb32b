ALTER TABLE tickets DROP COLUMN seat_label;
