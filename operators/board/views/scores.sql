-- Every number of every completed trial, with the names that rows are read by. Candidates of a
-- search, which no test row was shown to, are in the view searches.
CREATE VIEW scores AS
SELECT
    trial_id, cell_id, protocol, dataset, shots, backbone, method, seed, split, metric, value, n,
    variant, test_rows_per_class, setting, selection, views, template_set, method_revision,
    dataset_fingerprint, backbone_fingerprint, episode_fingerprint, transform_version, precision,
    hyperparameters, started_at, protocols.track,
    coalesce(metric = primary_metric, false) AS is_primary, held_out,
    nullif(targets, '{}') -> split ->> 'fingerprint' AS target_fingerprint,
    spec_setting, cell_inferences.inference,
    CASE WHEN split <> learned_split THEN unseen_head END AS unseen_head
FROM trials
JOIN metrics USING (trial_id)
JOIN cell_inferences USING (cell_id)
LEFT JOIN protocols USING (protocol)
LEFT JOIN unseen_heads USING (protocol, method)
WHERE status = 'completed' AND tested_on = 'test';
