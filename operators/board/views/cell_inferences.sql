-- What the trials of a cell saw of the examples that they were tested on: inductive, each by itself;
-- transductive, all of them at once and without labels, or the images and names of classes that are
-- new; test-time, the example itself to adapt to, or those that came before. A method that reads
-- nothing of them is inductive in any protocol. NULL where neither the method's card, which the
-- board has of those that are installed, nor its protocol says it.
CREATE VIEW cell_inferences AS
SELECT DISTINCT
    cell_id,
    CASE
        WHEN methods.method IS NULL THEN nullif(inference, 'inductive')
        WHEN test_time THEN 'test-time'
        WHEN inference = 'transductive' AND methods.unlabelled THEN 'transductive'
        WHEN transductive AND tests = 'base and new' AND spec_setting = 'paper' THEN 'transductive'
        ELSE 'inductive'
    END AS inference
FROM trials
LEFT JOIN protocols USING (protocol)
LEFT JOIN methods USING (method);
