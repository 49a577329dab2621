-- What moved between the last two finished runs of each suite, runs of a part of it left aside, by
-- what each of the two saw. Which cell is compared with which, and `cause`, are told when the board is
-- filled (changes.py). `by itself` stands where a trial of the same id has another number.
CREATE VIEW nightly_changes AS
SELECT
    changes.suite, protocol, dataset, shots, backbone, method, variant, split, metric, change,
    previous_mean, current_mean, current_mean - previous_mean AS difference,
    previous_n, current_n, cause, previous_cell_id, current_cell_id,
    previous.started_at AS previous_run_at, latest.started_at AS current_run_at,
    previous_variant, moved_trials, previous_run_id, current_run_id
FROM changes
JOIN runs AS previous ON previous.run_id = previous_run_id
JOIN runs AS latest ON latest.run_id = current_run_id
ORDER BY
    changes.suite, change, protocol, dataset, shots, backbone, method, variant, split, metric;
