-- Accuracy on base and on new classes and their harmonic mean h, one row per cell, and the
-- average over datasets as dataset 'AVERAGE'. Two conventions circulate: `h` is the mean over
-- seeds (and datasets) of each h, `h_of_means` the h of the averaged base and new, which is what
-- most papers print. Of each dataset an average takes the latest cell that the variant does not
-- tell apart, and its spread is that of the seeds which all its datasets have.
CREATE VIEW base_to_new AS
WITH seeds AS (
    SELECT
        scores.*, scores.value AS base, other.value AS new,
        harmonic(base, new) AS h,
        row(method, backbone, shots, variant, setting, selection, views,
            test_rows_per_class) AS family
    FROM scores
    JOIN metrics AS other USING (trial_id, metric)
    WHERE protocol = 'base_to_new' AND metric = 'accuracy'
        AND scores.split = 'base' AND other.split = 'new'
),
cells AS (
    SELECT
        dataset, shots, backbone, method, variant, setting, selection, views,
        test_rows_per_class, cell_id, family,
        avg(base) AS base, avg(new) AS new, avg(h) AS h, count(*) AS n,
        stddev_samp(base) AS base_std, stddev_samp(new) AS new_std, stddev_samp(h) AS h_std,
        max(started_at) AS latest_at
    FROM seeds
    GROUP BY dataset, shots, backbone, method, variant, setting, selection, views,
        test_rows_per_class, cell_id, family
),
latest AS (
    SELECT *
    FROM cells
    QUALIFY row_number() OVER (PARTITION BY family, dataset ORDER BY latest_at DESC, cell_id) = 1
),
averages AS (
    SELECT
        family, avg(base) AS base, avg(new) AS new, avg(h) AS h, count(*) AS datasets,
        string_agg(dataset, ', ' ORDER BY dataset) AS covers
    FROM latest
    GROUP BY family
),
shared_seeds AS (
    SELECT
        family, seed, avg(seeds.base) AS base, avg(seeds.new) AS new, avg(seeds.h) AS h
    FROM seeds
    JOIN averages USING (family)
    WHERE cell_id IN (SELECT cell_id FROM latest)
    GROUP BY family, seed, datasets
    HAVING count(*) = datasets
),
spreads AS (
    SELECT
        family, count(*) AS n, stddev_samp(base) AS base_std, stddev_samp(new) AS new_std,
        stddev_samp(h) AS h_std
    FROM shared_seeds
    GROUP BY family
),
lines AS (
    SELECT * EXCLUDE (family, latest_at), 1 AS datasets, dataset AS covers FROM cells
    UNION ALL BY NAME
    SELECT
        'AVERAGE' AS dataset, latest.shots, latest.backbone, latest.method, latest.variant,
        latest.setting, latest.selection, latest.views, latest.test_rows_per_class,
        NULL AS cell_id, averages.base, averages.new, averages.h, coalesce(spreads.n, 0) AS n,
        spreads.base_std, spreads.new_std, spreads.h_std, datasets, covers
    FROM averages
    JOIN (SELECT DISTINCT ON (family) * FROM latest) AS latest USING (family)
    LEFT JOIN spreads USING (family)
)
SELECT
    dataset, shots, backbone, method, base, new, h,
    harmonic(base, new) AS h_of_means,
    n, base_std, new_std, h_std,
    seeds_low(h, h_std, n, t) AS h_ci95_low, seeds_high(h, h_std, n, t) AS h_ci95_high,
    variant, cell_id, setting, selection, views, test_rows_per_class, datasets, covers
FROM lines
LEFT JOIN t_values ON df = least(n - 1, 200)
ORDER BY dataset = 'AVERAGE', dataset, shots, backbone, h_of_means DESC, method, variant, cell_id;
