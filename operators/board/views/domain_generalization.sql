-- Prompts tuned on one domain and read on the same kind of classes in others.
CREATE VIEW domain_generalization AS
SELECT * EXCLUDE (protocol) FROM transfer WHERE protocol = 'domain_generalization';
