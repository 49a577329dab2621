-- Every two methods of a ground over the data sets that both have, which `covers` names; what only
-- one of them has, `missing` does. A method with 0 shots has no draw: it stands beside all shots. A
-- pair is there from either side. Tests are computed when the board is filled (overall.py): p is
-- Wilcoxon's signed-rank test, in which data sets are the sample, p_seeds Student's t on the averages
-- of each seed, whose interval is ci95. Holm's correction is over the pairs of one ground.
CREATE VIEW significance_over_datasets AS
WITH sides AS (
    SELECT * FROM dataset_comparisons
    UNION ALL BY NAME
    SELECT * REPLACE (
        method_b AS method_a, method_a AS method_b, variant_b AS variant_a,
        variant_a AS variant_b, mean_b AS mean_a, mean_a AS mean_b, -difference AS difference,
        -seeds_difference AS seeds_difference, losses AS wins, wins AS losses,
        -effect_datasets AS effect_datasets
    )
    FROM dataset_comparisons
)
SELECT
    method_a, method_b, protocol, source, backbone, shots, split, metric, mean_a, mean_b,
    difference, datasets, wins, ties, losses, effect_datasets, p, p_holm, n,
    seeds_difference, std,
    seeds_difference - seeds_half(std, n, t) AS ci95_low,
    seeds_difference + seeds_half(std, n, t) AS ci95_high,
    seeds_difference / nullif(std, 0) AS effect_seeds, p_seeds, p_seeds_holm, pairs, covers,
    missing, variant_a, variant_b, test_rows_per_class
FROM sides
LEFT JOIN t_values ON df = least(n - 1, 200)
ORDER BY
    protocol, source, backbone, shots, split, test_rows_per_class, method_a, variant_a, method_b,
    variant_b;
