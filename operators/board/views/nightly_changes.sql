-- What moved between the last two finished runs of each suite, runs of a part of it left aside. A cell that is in both runs is
-- compared with itself; one that changed identity (a new revision, other hyperparameters, another
-- version of the data) with the cell of the same names, and `cause` says what changed.
CREATE VIEW nightly_changes AS
WITH numbered AS (
    SELECT
        run_id, suite, started_at,
        row_number() OVER (PARTITION BY suite ORDER BY started_at DESC, run_id DESC) AS age
    FROM runs
    WHERE finished_at IS NOT NULL AND NOT partial
),
last_two AS (
    SELECT * FROM numbered
    WHERE age <= 2 AND suite IN (SELECT suite FROM numbered WHERE age = 2)
),
scored AS (
    SELECT
        suite, age, last_two.started_at AS run_at, cell_id, protocol, dataset, shots, backbone,
        method, variant, split, metric, setting, method_revision, dataset_fingerprint,
        backbone_fingerprint, template_set, transform_version, hyperparameters,
        row(protocol, dataset, shots, backbone, method, variant, setting, selection, views,
            precision, test_rows_per_class) AS names,
        avg(value) AS mean, count(*) AS n
    FROM last_two
    JOIN run_trials USING (run_id)
    JOIN scores USING (trial_id)
    GROUP BY ALL
),
matched AS (
    SELECT
        *, CASE runs WHEN 2 THEN cell_id ELSE '' END AS itself,
        row_number() OVER (
            PARTITION BY suite, age, names, split, metric, itself ORDER BY cell_id
        ) AS ordinal
    FROM (
        SELECT *, count(*) OVER (PARTITION BY suite, cell_id, split, metric) AS runs FROM scored
    )
),
before AS (SELECT * FROM matched WHERE age = 2),
after AS (SELECT * FROM matched WHERE age = 1)
SELECT
    suite, coalesce(after.protocol, before.protocol) AS protocol,
    coalesce(after.dataset, before.dataset) AS dataset,
    coalesce(after.shots, before.shots) AS shots,
    coalesce(after.backbone, before.backbone) AS backbone,
    coalesce(after.method, before.method) AS method,
    coalesce(after.variant, before.variant) AS variant,
    split, metric,
    CASE
        WHEN before.cell_id IS NULL THEN 'new'
        WHEN after.cell_id IS NULL THEN 'vanished'
        WHEN abs(after.mean - before.mean) < 1e-12 THEN 'same'
        ELSE 'moved'
    END AS change,
    before.mean AS previous_mean, after.mean AS current_mean,
    after.mean - before.mean AS difference,
    before.n AS previous_n, after.n AS current_n,
    nullif(concat_ws(
        ', ',
        CASE WHEN before.method_revision <> after.method_revision
            THEN format('method revision {} to {}', before.method_revision, after.method_revision)
        END,
        CASE WHEN before.hyperparameters <> after.hyperparameters THEN 'hyperparameters' END,
        CASE WHEN before.dataset_fingerprint <> after.dataset_fingerprint THEN 'dataset' END,
        CASE WHEN before.backbone_fingerprint <> after.backbone_fingerprint THEN 'backbone' END,
        CASE WHEN before.template_set <> after.template_set THEN 'templates' END,
        CASE WHEN before.transform_version <> after.transform_version THEN 'transform' END,
        CASE WHEN before.n <> after.n THEN 'seeds' END
    ), '') AS cause,
    before.cell_id AS previous_cell_id, after.cell_id AS current_cell_id,
    before.run_at AS previous_run_at, after.run_at AS current_run_at
FROM before
FULL JOIN after USING (suite, names, split, metric, itself, ordinal)
ORDER BY suite, change, protocol, dataset, shots, backbone, method, variant, split, metric;
