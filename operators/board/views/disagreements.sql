-- Trials of which another store has another result, by the primary metric: the furthest first.
CREATE VIEW disagreements AS
SELECT
    trial_id, reproductions.origin, protocol, dataset, backbone, shots, method, variant, seed, split,
    metric, ours, theirs, difference, n, rows_differ, largest, verdict, differs
FROM reproductions
JOIN trials USING (trial_id)
JOIN protocols USING (protocol)
WHERE verdict = 'different' AND metric = primary_metric
ORDER BY abs(difference) DESC NULLS FIRST, rows_differ DESC, trial_id, split, reproductions.origin;
