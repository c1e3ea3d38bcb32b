ALTER TABLE tickets ADD COLUMN seat_label text;
