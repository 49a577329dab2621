"""What the page knows: SQL on the board, by the name that the page's views have for the answer.

A table is asked for whole and in an order that packs well; views of the page filter and sort.
Candidates of searches are left aside.
"""

from tasks.pages.mistakes import CONFUSIONS, EACH, MISTAKES

# A mean of a cell by place. Splits that no trial has stand beside the others: H, the harmonic mean
# of base and new, and AVERAGE, the mean over the targets that `covers` names.
SCORES = """
SELECT
    protocol, backbone, test_rows_per_class, dataset, shots, split, metric, method, variant,
    cell_id, setting, selection, views, template_set, method_revision, mean, std, n, ci95_low,
    ci95_high, images_ci95_low, images_ci95_high, NULL AS covers, inference,
    unseen_head
FROM leaderboard
UNION ALL BY NAME
SELECT
    protocol, backbone, test_rows_per_class, dataset, shots, 'H' AS split, metric, method, variant,
    cell_id, setting, selection, views, h AS mean, h_std AS std, n, h_ci95_low AS ci95_low,
    h_ci95_high AS ci95_high, unseen_head
FROM base_to_new
WHERE cell_id IS NOT NULL AND h IS NOT NULL
UNION ALL BY NAME
SELECT
    protocol, backbone, test_rows_per_class, source AS dataset, shots, 'AVERAGE' AS split, metric,
    method, variant, cell_id, setting, selection, views, mean, std, n, ci95_low, ci95_high, covers,
    missing, unseen_head
FROM transfer
WHERE target = 'AVERAGE'
"""

TABLES = {
    "tracks": "SELECT track, title, kind, primary_metric, to_json(metrics) AS metrics FROM tracks",
    "protocols": "FROM protocols",
    "metrics": "SELECT metric, title, better, low, high, unit, source FROM metric_definitions",
    "methods": "FROM methods ORDER BY method",
    "datasets": "FROM datasets ORDER BY name",
    "backbones": "FROM backbones ORDER BY backbone",
    "scores": f"""
        FROM ({SCORES})
        ORDER BY ALL
    """,
    # Over data sets: of one ground all over the same ones, and what a method lacks is named.
    "averages": """
        SELECT
            protocol, source, backbone, test_rows_per_class, shots, split, metric, method, variant,
            mean, std, n, ci95_low, ci95_high, datasets, covers, missing, left_out
        FROM averages
        ORDER BY ALL
    """,
    "ranks": """
        SELECT
            protocol, source, backbone, test_rows_per_class, shots, split, metric, method, variant,
            mean_rank, methods, datasets, critical_difference, friedman_p
        FROM ranks
        ORDER BY ALL
    """,
    # From one side: the view has every pair twice, and intervals are about the difference.
    "significance": """
        SELECT
            protocol, dataset, backbone, test_rows_per_class, shots, split, metric, cell_a, cell_b,
            n, mean_a, mean_b, difference, ci95_high - difference AS ci95_half, p, p_holm, only_a,
            only_b, images_ci95_high - difference AS images_ci95_half, p_images, p_images_holm
        FROM significance
        WHERE cell_a < cell_b
        ORDER BY protocol, dataset, backbone, test_rows_per_class, shots, split, cell_a, cell_b
    """,
    "published": """
        SELECT
            method, protocol, dataset, shots, backbone, split, metric, published,
            published_method, source, difference, ci95_low, ci95_high, verdict, cell_id, variant,
            test_rows_per_class, note, mean, templates_agree, same_images,
            difference_ci95_low, difference_ci95_high
        FROM reproduction
        ORDER BY ALL
    """,
    "reference_results": """
        SELECT method, backbone, protocol, dataset, shots, split, metric, value, source
        FROM reference_results
        ORDER BY ALL
    """,
    "reference_conflicts": """
        SELECT kind, method, backbone, protocol, dataset, shots, split, metric, spread, said, note
        FROM reference_conflicts
        ORDER BY ALL
    """,
    "reference_sources": """
        SELECT
            method, source_a, label_a, source_b, label_b, cells, differ, mean_difference, largest,
            largest_at
        FROM reference_sources
        ORDER BY ALL
    """,
    "trials": """
        SELECT
            trial_id, cell_id, suite, method, variant, backbone, dataset, protocol, shots, seed,
            held_out, test_rows_per_class, setting, selection, views, precision, template_set,
            status, error, strftime(started_at, '%Y-%m-%d %H:%M:%S') AS started_at, tune_seconds,
            evaluate_seconds, peak_memory_bytes, trainable_parameters, steps, tune_flops, device,
            torch_version, git_commit, mlflow_run_id, flow_run_id, hyperparameters,
            method_revision, dataset_fingerprint, backbone_fingerprint, episode_fingerprint,
            teacher_trial_id
        FROM trials
        WHERE tested_on = 'test'
        ORDER BY protocol, backbone, dataset, shots, method, variant, cell_id, seed
    """,
    "trial_scores": """
        SELECT trial_id, split, metric, value, n
        FROM scores
        WHERE is_primary
        ORDER BY protocol, backbone, dataset, shots, method, variant, cell_id, seed, split
    """,
    "runs": """
        SELECT
            run_id, suite, status, strftime(started_at, '%Y-%m-%d %H:%M:%S') AS started_at,
            strftime(ended_at, '%Y-%m-%d %H:%M:%S') AS ended_at, planned, reused, computed,
            elsewhere, failed, error, flow_run_id, git_commit, git_dirty, partial
        FROM runs
        ORDER BY runs.started_at DESC
    """,
    "run_trials": """
        SELECT run_id, trial_id
        FROM run_trials
        JOIN trials USING (trial_id)
        WHERE tested_on = 'test'
        ORDER BY
            run_id, protocol, backbone, dataset, shots, method, variant, cell_id, seed, trial_id
    """,
    # What each of the last runs saw, in the metric that rows are ranked by.
    "run_scores": """
        SELECT run_id, trial_id, split, run_metrics.metric, value
        FROM run_metrics
        JOIN trials USING (trial_id)
        JOIN protocols USING (protocol)
        WHERE run_metrics.metric = primary_metric
        ORDER BY
            run_id, protocol, backbone, dataset, shots, method, variant, cell_id, seed, split
    """,
    "changes": """
        SELECT
            suite, protocol, dataset, shots, backbone, method, variant, split, metric, change,
            previous_mean, current_mean, difference, cause, verdict, previous_run_id,
            current_run_id
        FROM nightly_changes
        JOIN protocols USING (protocol)
        WHERE metric = primary_metric AND (change <> 'same' OR cause IS NOT NULL)
        ORDER BY ALL
    """,
    # At most 25 epochs of a trial, the first and the last among them.
    "losses": """
        WITH chosen AS (
            SELECT
                * EXCLUDE (losses), losses,
                CASE WHEN len(losses) <= 25 THEN range(len(losses))
                    ELSE [i * (len(losses) - 1) // 24 FOR i IN range(25)] END AS places
            FROM trials
            WHERE status = 'completed' AND tested_on = 'test' AND losses IS NOT NULL
        )
        SELECT
            trial_id, to_json([place + 1 FOR place IN places])::VARCHAR AS epochs,
            '[' || array_to_string([printf('%.3g', losses[p + 1]) FOR p IN places], ',') || ']'
                AS losses
        FROM chosen
        ORDER BY protocol, backbone, dataset, shots, method, variant, cell_id, seed
    """,
    "confusions": CONFUSIONS.format(also="", each=EACH),
    "mistakes": MISTAKES.format(also="", each=EACH),
}

# Rows that wrong answers are about: the surest of each trial first, of the newest trials first.
WORTH_SHOWING = f"""
SELECT tested, tested_fingerprint, row_id
FROM ({MISTAKES.format(also="", each=EACH)})
JOIN trials USING (trial_id)
GROUP BY tested, tested_fingerprint, row_id
ORDER BY min(place), max(started_at) DESC, tested, row_id
"""

JSON = {  # columns that hold it
    *("card", "needs", "capabilities", "hyperparameters", "metrics", "epochs", "losses"),
}
IDS = {  # columns that hold ids of one kind, which the page has once
    **{"trial_id": "trial", "teacher_trial_id": "trial"},
    **{"cell_id": "cell", "cell_a": "cell", "cell_b": "cell"},
}
DIGITS = 6  # that are kept of a number that is not whole
ROUGH = {  # columns for which fewer are enough: spreads, tests, costs
    **dict.fromkeys(("std", "ci95_low", "ci95_high", "images_ci95_low", "images_ci95_high"), 4),
    **dict.fromkeys(("p", "p_holm", "p_images", "p_images_holm"), 4),
    **dict.fromkeys(("ci95_half", "images_ci95_half"), 3),
    **dict.fromkeys(("difference_ci95_low", "difference_ci95_high"), 4),
    **dict.fromkeys(("spread", "mean_difference", "largest"), 4),
    **dict.fromkeys(("tune_seconds", "evaluate_seconds", "share", "confidence"), 4),
}
