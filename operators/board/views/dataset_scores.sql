-- The primary metric of each seed by the data set that was tested: what averages and ranks over data
-- sets are made of. Scores compete on one ground: protocol, source, backbone, shots, split, metric
-- and test rows. Of what was tuned on a source the data sets are its targets, under split 'targets';
-- the source's own test set is left aside. Split 'H' is the harmonic mean of base and new, of each
-- seed. Of a data set and backbone of several versions only the latest counts, and of cells that the
-- variant does not tell apart (an older revision of a method) the latest.
CREATE VIEW dataset_scores AS
WITH known AS (
    SELECT
        scores.* REPLACE (lines.variant AS variant), tests, better,
        better = 'higher' AND low = 0 AND high = 1 AS is_share
    FROM scores
    JOIN cell_variants AS lines USING (cell_id)
    JOIN protocols USING (protocol)
    LEFT JOIN metric_definitions USING (metric)
    WHERE is_primary AND NOT (tests = 'targets' AND split = 'all' AND held_out = '')
),
tested AS (
    SELECT
        protocol, CASE tests WHEN 'targets' THEN dataset END AS source, backbone, shots, method,
        variant, CASE tests WHEN 'targets' THEN split ELSE dataset END AS dataset,
        CASE tests WHEN 'targets' THEN 'targets' ELSE split END AS split, metric, seed, value,
        cell_id, trial_id, started_at, test_rows_per_class, setting, better,
        concat_ws(' ', backbone_fingerprint, dataset_fingerprint, target_fingerprint) AS version
    FROM known
    UNION ALL BY NAME
    SELECT
        base.protocol, base.backbone, base.shots, base.method, variant, base.dataset,
        'H' AS split, base.metric, base.seed, harmonic(base.value, new.value) AS value,
        base.cell_id, base.trial_id, base.started_at, base.test_rows_per_class, base.setting,
        base.better, concat_ws(' ', base.backbone_fingerprint, base.dataset_fingerprint) AS version
    FROM known AS base
    JOIN known AS new USING (trial_id, metric, variant)
    WHERE base.tests = 'base and new' AND base.is_share
        AND base.split = 'base' AND new.split = 'new'
),
grounds AS (
    SELECT
        *,
        {
            protocol: protocol, source: source, backbone: backbone, shots: shots, split: split,
            metric: metric, test_rows_per_class: test_rows_per_class
        } AS ground
    FROM tested
),
current_versions AS (
    SELECT ground, dataset, max_by(version, (started_at, version)) AS version
    FROM grounds
    GROUP BY ground, dataset
),
latest AS (
    SELECT ground, method, variant, dataset, max_by(cell_id, (started_at, cell_id)) AS cell_id
    FROM grounds
    JOIN current_versions USING (ground, dataset, version)
    GROUP BY ground, method, variant, dataset
)
SELECT
    protocol, source, backbone, shots, method, variant, dataset, split, metric, seed, value,
    cell_id, trial_id, test_rows_per_class, setting, better, ground
FROM grounds
JOIN latest USING (ground, method, variant, dataset, cell_id)
ORDER BY
    protocol, source, backbone, shots_order(shots), split, test_rows_per_class, method, variant,
    dataset, seed;
