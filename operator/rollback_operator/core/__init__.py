"""Decisions. No I/O, no clock, no log: `now` is an argument, and what is seen comes in as values.

One maker each: the verdict (judge), the severity (matrix), the plan (plan), the status (status).
Times inside are seconds since the epoch, as samples carry them; the API's times are datetimes.

What is seen
    workload, pod, pod_names, autoscaler, config_map, owner, services, surroundings, reading,
    rights
What is counted
    evidence, pairing, increments, retention, counts, control, overlap, podless, probes, trends,
    histogram
The arithmetic of it
    sequential, likelihood, onset, ending, fading, growth, reach
The judgement
    watching, opening, watch, direct, question, arms, warm_up, scope, affected, alike, blame,
    doubts, failing, proof, availability, traffic, slowness, trials, symptoms, judge, verdict,
    explain
What is known of releases
    words, ledger, earning, quarantine, recent, targets
The decision
    look, case, matrix, guards, freeze, budget, load, way, plan, names, attempts, decide, manual,
    rollout, holds, lapses, schedule, stop
The rollback
    course, checklist, checks, schema, approval, steps, progress, raising, rollback_status,
    autoscaling, flags, gitops, suspension, claims, ceasing, verification, probing, level,
    ownership, history, change_cause
What people are told
    status, sources, summary, evaluation, commands, conditions, readiness, recovery, diagnosis,
    notices, transitions, outbox, incident, message, wording, renderings
What a policy could judge by
    survey, sight, lost, outlook, finding, findings, policy_findings, flag_findings,
    remedy_findings
"""
