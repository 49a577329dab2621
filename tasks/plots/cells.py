"""The cells that compete in one place, in SQL: what several plots begin with."""

# Of cells that differ in nothing that has a name (an older revision of a method) the latest; the
# harmonic mean of base and new as a split of its own; and what needs no labelled example beside
# the cells of each number of shots.
CELLS = """
WITH named AS (
    SELECT
        protocol, dataset, shots, backbone, split, test_rows_per_class, method,
        trim(regexp_replace(variant, 'test_rows_per_class=\\d+', '')) AS variant, metric, mean,
        ci95_low AS low, ci95_high AS high, n, cell_id
    FROM leaderboard
    WHERE is_primary
    UNION ALL BY NAME
    SELECT
        protocol, dataset, shots, backbone, 'H' AS split, test_rows_per_class, method,
        trim(regexp_replace(variant, 'test_rows_per_class=\\d+', '')) AS variant, metric,
        h AS mean, h_ci95_low AS low, h_ci95_high AS high, n, cell_id
    FROM base_to_new
    WHERE cell_id IS NOT NULL AND h IS NOT NULL
),
spent AS (
    SELECT
        cell_id, max(started_at) AS latest_at, avg(tune_seconds) AS tune_seconds,
        avg(tune_flops) AS tune_flops, avg(trainable_parameters) AS trainable_parameters,
        avg(evaluate_seconds) AS evaluate_seconds,
        string_agg(DISTINCT device, ', ' ORDER BY device) AS devices
    FROM trials
    WHERE status = 'completed'
    GROUP BY cell_id
),
latest AS (
    SELECT *
    FROM named
    LEFT JOIN spent USING (cell_id)
    QUALIFY row_number() OVER (
        PARTITION BY protocol, dataset, shots, backbone, split, test_rows_per_class, method, variant
        ORDER BY latest_at DESC NULLS LAST, cell_id
    ) = 1
),
drawn AS (
    SELECT DISTINCT protocol, dataset, shots, backbone, split, test_rows_per_class
    FROM latest
    WHERE shots <> 0
),
cells AS (
    SELECT *, shots <> 0 AS draws FROM latest
    UNION ALL BY NAME
    SELECT latest.* REPLACE (drawn.shots AS shots), false AS draws
    FROM latest
    JOIN drawn USING (protocol, dataset, backbone, split)
    WHERE latest.shots = 0
        AND latest.test_rows_per_class IS NOT DISTINCT FROM drawn.test_rows_per_class
)
"""
