/**
 * The built-in rules, in Cedar. They are part of every policy set: a configuration adds to them and cannot take one
 * away, and in Cedar a `forbid` beats every `permit`, so no rule of a user widens what is forbidden here.
 *
 * The duty rules are written a second time in `duty.ts`; both must agree before anything is approved or executed.
 * `@code` is the error code of a denial, `@reason` and `@hint` are what the denied person reads.
 */
export const builtinPolicies = `
// Who is not known to be some human cannot be told apart from an author.
@id("nobody")
@code("forbidden")
@reason("it is not known which human this principal is")
forbid (principal, action, resource) when { principal.human == "" };

// A session acts in one duty, and only in one that its principal holds on this connection.
@id("duty-not-held")
@code("duty_missing")
@reason("the session's duty is not one that this principal holds on the connection")
@hint("ask an administrator which of your groups is bound to a duty on this connection")
forbid (principal, action in Action::"statement", resource) unless {
  (context.duty == "designer" && principal in Duty::"designer") ||
  (context.duty == "executor" && principal in Duty::"executor")
};

// What is not understood could read anything. It may run only where there is nothing to hide, and only for whom a policy
// names Action::"unknown" (engine.ts).
@id("unknown")
@code("statement_unknown")
@reason("the statement contains something that the gateway does not understand, and on this connection something is masked, so nothing of it is run")
forbid (principal, action == Action::"unknown", resource) unless { context.nothingMasked };

// Filtering, joining, sorting or grouping by a masked column answers questions about its raw values.
@id("masked-predicate")
@code("masked_predicate")
@reason("a masked column is used to filter, join, sort, group or limit, or what is made of it is stored in another place")
@hint("leave masked columns out of everything but the select list, unless their rules allow 'is null' or an equality")
forbid (principal, action in Action::"statement", resource) when { !context.maskedPredicates.isEmpty() };

// Estimates and folded constants of a plan come from raw values.
@id("explain-masked")
@code("statement_denied")
@reason("EXPLAIN over a relation with masked columns can show raw values")
@hint("the plan of a chunk job is made by the gateway and shown with its request")
forbid (principal, action == Action::"explain", resource) when { context.touchesMasked };

// Settings that change how text is read, which relation a name means, who the session is, or how a masked value looks.
// Where nothing is masked they count as what is not understood (statement.ts).
@id("setting-unsafe")
@code("statement_denied")
@reason("this setting changes how statements are read, which objects names mean, or who the session is")
forbid (principal, action == Action::"setting", resource) when {
  context.setting.name == "" ||
  [
    "search_path", "role", "session_authorization", "row_security", "session_preload_libraries",
    "local_preload_libraries", "shared_preload_libraries", "backslash_quote", "array_nulls",
    "transform_null_equals", "operator_precedence_warning", "dynamic_library_path",
    "allow_system_table_mods", "session_replication_role", "lo_compat_privileges"
  ].contains(context.setting.name)
};

@id("setting-value")
@code("statement_denied")
@reason("the gateway reads results only with client_encoding UTF8, standard_conforming_strings on, and DateStyle ISO")
forbid (principal, action == Action::"setting", resource) when {
  context.command != "RESET" &&
  ["client_encoding", "standard_conforming_strings", "datestyle"].contains(context.setting.name)
} unless {
  (
    (context.setting.name == "client_encoding" && ["utf8", "utf-8", "unicode"].contains(context.setting.value)) ||
    (
      context.setting.name == "standard_conforming_strings" &&
      ["on", "true", "yes", "1"].contains(context.setting.value)
    ) ||
    (
      context.setting.name == "datestyle" &&
      ["iso", "iso, mdy", "iso, dmy", "iso, ymd"].contains(context.setting.value)
    )
  )
};

// Plans, parse trees and statistics of statements come to the client as messages once its messages are verbose enough,
// with constants and counts in them; what is written to the target's own log may go the same way.
@id("setting-verbose")
@code("statement_denied")
@reason("this setting makes the server tell how it reads and runs statements, with values in it")
@hint("client_min_messages may be notice, warning or error")
forbid (principal, action == Action::"setting", resource) when {
  context.setting.name like "debug_*" || context.setting.name like "log_*" || context.setting.name like "trace_*" ||
  context.setting.name like "track_*" || context.setting.name like "auto_explain.*" ||
  context.setting.name like "pg_stat_statements.*" || context.setting.name like "plpgsql.*" ||
  (
    context.setting.name == "client_min_messages" && context.command != "RESET" &&
    !["notice", "warning", "error"].contains(context.setting.value)
  )
};

// Segregation of duties. Humans are compared, not principals: a service account is its owner.
@id("approve-needs-approver")
@code("duty_missing")
@reason("deciding a request needs the duty approver (for a change of rules, approver or admin)")
forbid (principal, action in [Action::"approve", Action::"reject"], resource) unless {
  principal in Duty::"approver" || (resource.kind == "policy" && principal in Duty::"admin")
};

@id("approver-is-author")
@code("duty_conflict")
@reason("an author may not decide on what they wrote")
forbid (principal, action in [Action::"approve", Action::"reject"], resource) when {
  resource.authors.contains(principal.human)
};

@id("approver-is-requester")
@code("duty_conflict")
@reason("a requester may not decide on what they asked for")
forbid (principal, action in [Action::"approve", Action::"reject"], resource) when {
  resource.requester == principal.human
};

@id("author-unknown")
@code("duty_conflict")
@reason("an author of this request is not known as a human, so nobody can be shown to be independent of them")
forbid (principal, action in [Action::"approve", Action::"execute"], resource) when {
  resource.authors.isEmpty() || resource.authors.contains("") || resource.requester == ""
};

@id("policy-is-applied")
@code("forbidden")
@reason("a change of rules is applied by the gateway when it is approved; nobody executes it")
forbid (principal, action == Action::"execute", resource) when { resource.kind == "policy" };

@id("execute-needs-executor")
@code("duty_missing")
@reason("executing a job needs the duty executor")
forbid (principal, action == Action::"execute", resource) when { resource.kind == "job" } unless {
  principal in Duty::"executor"
};

@id("execute-needs-session-duty")
@code("duty_missing")
@reason("running an approved statement needs the duty designer or executor")
forbid (principal, action == Action::"execute", resource) unless {
  principal in Duty::"executor" || principal in Duty::"designer"
};

@id("executor-is-author")
@code("duty_conflict")
@reason("an author may not execute what they wrote")
forbid (principal, action == Action::"execute", resource) when {
  resource.kind == "job" && resource.authors.contains(principal.human)
};

// A held statement or session is the one exception: who typed it waits for it, and only they may go on.
@id("executor-is-not-requester")
@code("duty_conflict")
@reason("an approved statement or session belongs to whoever asked for it")
forbid (principal, action == Action::"execute", resource) when {
  resource.kind != "job" && resource.requester != principal.human
};

@id("executor-is-approver")
@code("duty_conflict")
@reason("in strict mode an approver may not execute what they approved")
forbid (principal, action == Action::"execute", resource) when {
  (resource.strict || resource.kind != "job") && resource.approvers.contains(principal.human)
};

@id("withdraw-needs-requester")
@code("forbidden")
@reason("only the requester may withdraw a request")
forbid (principal, action == Action::"withdraw", resource) unless { resource.requester == principal.human };

@id("push-needs-designer")
@code("duty_missing")
@reason("pushing a job needs the duty designer")
forbid (principal, action == Action::"push-job", resource) unless { principal in Duty::"designer" };

@id("request-needs-designer-or-executor")
@code("duty_missing")
@reason("asking for a run or a statement needs the duty designer or executor")
forbid (principal, action in [Action::"request-run", Action::"request-statement"], resource) unless {
  principal in Duty::"designer" || principal in Duty::"executor"
};

@id("evidence-needs-auditor")
@code("duty_missing")
@reason("replaying sessions and reading the log needs the duty auditor")
forbid (principal, action in [Action::"replay", Action::"read-log"], resource) unless { principal in Duty::"auditor" };

@id("review-needs-auditor-or-admin")
@code("duty_missing")
@reason("the access review needs the duty auditor or admin")
forbid (principal, action == Action::"review-access", resource) unless {
  principal in Duty::"auditor" || principal in Duty::"admin"
};

@id("change-needs-admin-or-approver")
@code("duty_missing")
@reason("changing the rules needs the duty admin or approver on every connection that the change touches")
forbid (principal, action == Action::"change-policy", resource) unless {
  principal in Duty::"admin" || principal in Duty::"approver"
};

// What the duties are for. The prohibitions above say who.
@id("duty-request")
permit (
  principal,
  action in [Action::"approve", Action::"reject", Action::"execute", Action::"withdraw"],
  resource
);

@id("duty-action")
permit (
  principal,
  action in [
    Action::"push-job", Action::"request-run", Action::"request-statement", Action::"replay", Action::"read-log",
    Action::"review-access", Action::"change-policy"
  ],
  resource
);
`;

/**
 * What the duties designer and executor may do with statements when a configuration keeps the defaults. Whatever is
 * not permitted here is denied, and whatever is permitted only with `context.approved` is held: an omission holds or
 * denies, it never allows.
 */
export const defaultPolicies = `
@id("connect")
permit (principal, action == Action::"connect", resource);

@id("look")
permit (
  principal,
  action in [Action::"catalogue", Action::"show", Action::"transaction"],
  resource
) unless { ["PREPARE TRANSACTION", "COMMIT PREPARED", "ROLLBACK PREPARED"].contains(context.command) };

// What drivers and pools send by themselves. LISTEN is left out: a notification can carry any value. DISCARD ALL and
// RESET ALL go back to the settings of the start-up packet, which is where the gateway puts those that it relies on.
@id("session")
permit (principal, action == Action::"session", resource) when {
  [
    "DEALLOCATE", "DEALLOCATE ALL", "CLOSE", "CLOSE CURSOR", "CLOSE CURSOR ALL", "UNLISTEN",
    "DISCARD ALL", "DISCARD PLANS", "DISCARD SEQUENCES", "DISCARD TEMP"
  ].contains(context.command)
};

@id("harmless-setting")
permit (principal, action == Action::"setting", resource) when {
  (
    [
      "application_name", "statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout",
      "idle_session_timeout", "transaction_timeout", "extra_float_digits", "datestyle", "intervalstyle", "timezone",
      "client_encoding", "standard_conforming_strings", "default_transaction_isolation", "transaction_isolation",
      "jit", "tcp_user_timeout", "tcp_keepalives_idle", "tcp_keepalives_interval", "tcp_keepalives_count",
      "work_mem", "maintenance_work_mem", "hash_mem_multiplier", "temp_buffers", "effective_cache_size",
      "effective_io_concurrency", "random_page_cost", "seq_page_cost", "cpu_tuple_cost", "cpu_index_tuple_cost",
      "cpu_operator_cost", "parallel_setup_cost", "parallel_tuple_cost", "min_parallel_table_scan_size",
      "min_parallel_index_scan_size", "max_parallel_workers", "max_parallel_workers_per_gather",
      "max_parallel_maintenance_workers", "jit_above_cost", "jit_inline_above_cost", "jit_optimize_above_cost", "geqo",
      "geqo_threshold", "from_collapse_limit", "join_collapse_limit", "cursor_tuple_fraction", "plan_cache_mode",
      "constraint_exclusion", "default_text_search_config"
    ].contains(context.setting.name) ||
    // How the planner may go about a statement; what it answers is the same.
    context.setting.name like "enable_*" ||
    (context.setting.name == "all" && context.command == "RESET") ||
    (context.setting.name == "bytea_output" && context.setting.value == "hex") ||
    (
      context.setting.name == "client_min_messages" &&
      ["notice", "warning", "error"].contains(context.setting.value)
    ) ||
    (
      ["default_transaction_read_only", "transaction_read_only"].contains(context.setting.name) &&
      ["on", "true", "yes", "1"].contains(context.setting.value)
    )
  )
};

@id("designer-explain")
permit (principal in Duty::"designer", action == Action::"explain", resource) when { context.duty == "designer" };

// A proven small number of rows, inside the hourly budget.
@id("designer-sample")
permit (principal in Duty::"designer", action == Action::"sample", resource) when { context.duty == "designer" };

@id("designer-approved")
permit (
  principal in Duty::"designer",
  action in [Action::"read", Action::"write", Action::"ddl", Action::"copy-out", Action::"copy-in"],
  resource
) when { context.duty == "designer" && context.approved };

@id("executor-approved")
permit (
  principal in Duty::"executor",
  action in [
    Action::"sample", Action::"read", Action::"write", Action::"ddl", Action::"copy-out", Action::"copy-in", Action::"run"
  ],
  resource
) when { context.duty == "executor" && context.approved };
`;
