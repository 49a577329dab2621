-- What moved between the last two finished runs of each suite, runs of a part of it left aside, by
-- what each of the two saw. Which cell is compared with which, and `cause`, are told when the board is
-- filled (changes.py). `by itself` stands where a trial of the same id has another number.
CREATE VIEW nightly_changes AS
SELECT
    suite, protocol, dataset, shots, backbone, method, variant, split, metric, change,
    previous_mean, current_mean, current_mean - previous_mean AS difference,
    previous_n, current_n, cause, previous_cell_id, current_cell_id, previous_run_at,
    current_run_at, previous_variant, moved_trials
FROM changes
ORDER BY suite, change, protocol, dataset, shots, backbone, method, variant, split, metric;
