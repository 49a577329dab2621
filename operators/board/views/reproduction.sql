-- Ours beside the published number, where reference_names says which name of ours is which of
-- theirs. A published value is compared with every variant of a method: read `variant`,
-- `setting` and `test_rows_per_class` before calling a difference one. Harmonic means follow the
-- papers' convention (of the averaged base and new), their interval is that of the seeds' h.
CREATE VIEW reproduction AS
WITH intervals AS (
    SELECT *, t * base_std / sqrt(n) AS base_half, t * new_std / sqrt(n) AS new_half
    FROM base_to_new
    LEFT JOIN t_values ON df = least(n - 1, 200)
),
ours AS (
    SELECT
        CASE shots WHEN 0 THEN 'zero_shot' ELSE protocol END AS protocol,
        CASE dataset WHEN 'AVERAGE' THEN 'average' || datasets ELSE dataset END AS dataset,
        shots, backbone, method, variant, 'test' AS split, 'accuracy' AS metric, mean, n,
        ci95_low, ci95_high, setting, test_rows_per_class, cell_id
    FROM few_shot_curves
    UNION ALL BY NAME
    SELECT
        'base_to_new' AS protocol,
        CASE dataset WHEN 'AVERAGE' THEN 'average' || datasets ELSE dataset END AS dataset,
        shots, backbone, method, variant, setting, test_rows_per_class, cell_id, n,
        unnest([
            {split: 'base', metric: 'accuracy', mean: base,
             ci95_low: base - base_half, ci95_high: base + base_half},
            {split: 'new', metric: 'accuracy', mean: new,
             ci95_low: new - new_half, ci95_high: new + new_half},
            {split: 'HM', metric: 'harmonic_mean', mean: h_of_means,
             ci95_low: h_ci95_low, ci95_high: h_ci95_high}
        ], recursive := true)
    FROM intervals
    UNION ALL BY NAME
    SELECT
        protocol, CASE target WHEN 'AVERAGE' THEN 'average' || targets ELSE target END AS dataset,
        shots, backbone, method, variant,
        CASE WHEN is_source THEN 'source_test' ELSE 'target_test' END AS split,
        'accuracy' AS metric, mean, n, ci95_low, ci95_high, setting, test_rows_per_class, cell_id
    FROM transfer
),
named AS (
    SELECT
        ours.*, methods.published AS published_method, datasets.published AS published_dataset,
        backbones.published AS published_backbone
    FROM ours
    JOIN reference_names AS methods ON methods.kind = 'method' AND methods.ours = method
    JOIN reference_names AS datasets
        ON datasets.kind = 'dataset' AND datasets.ours = lower(dataset)
    JOIN reference_names AS backbones
        ON backbones.kind = 'backbone'
        -- A backbone may be a folder or a hub's name: its last part counts.
        AND backbones.ours = lower(regexp_extract(rtrim(backbone, '/'), '[^/]+$'))
)
SELECT
    named.method, named.protocol, named.dataset, named.shots, named.backbone, named.split,
    named.metric, mean, n, ci95_low, ci95_high,
    reference.value AS published,
    mean - published AS difference,
    published BETWEEN ci95_low AND ci95_high AS within_ci95,
    published_method, reference.source, variant, setting, test_rows_per_class, cell_id
FROM named
JOIN reference_results AS reference
    ON reference.method = published_method AND reference.dataset = published_dataset
    AND reference.backbone = published_backbone AND reference.protocol = named.protocol
    AND reference.shots = named.shots AND reference.split = named.split
    AND reference.metric = named.metric
ORDER BY
    named.protocol, named.dataset, named.shots, named.backbone, named.split, named.method,
    variant, published_method, reference.source, cell_id;
