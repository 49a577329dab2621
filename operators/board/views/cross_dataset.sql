-- Prompts tuned on one dataset and read on others, with the class names of each.
CREATE VIEW cross_dataset AS
SELECT * EXCLUDE (protocol) FROM transfer WHERE protocol = 'cross_dataset';
