// SPDX-License-Identifier: Apache-2.0

package main

import (
	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
)

type row struct {
	title  string
	panels []cog.Builder[dashboard.Panel]
}

var (
	plain     = []dashboard.Threshold{begin("blue")}
	oneIsGood = []dashboard.Threshold{begin("red"), from(1, "green")}
	oneIsBad  = []dashboard.Threshold{begin("green"), from(1, "red")}
)

func rows() []row {
	return []row{
		{"Posture at a glance", postureRow()},
		{"Drift", driftRow()},
		{"Rollout", rolloutRow()},
		{"Latency and reachability", latencyRow()},
		{"Certificates and backups", certificateRow()},
		{"The operator", operatorRow()},
	}
}

func postureRow() []cog.Builder[dashboard.Panel] {
	condition := func(kind string) query {
		return query{`max by (policy) (cpnp_policy_condition{policy=~"$policy",type="` + kind + `",status="True"})`, "{{policy}}"}
	}
	return []cog.Builder[dashboard.Panel]{
		newState(text{"Ready", "Everything is as the policy asks."}, "no", "yes", oneIsGood, condition("Ready")),
		newState(text{"Effective", "The declared restrictions really hold. In mode Audit they are not there yet."}, "no", "yes",
			oneIsGood, condition("Effective")),
		newState(text{"TLS compliant", "TLS of every probed component is as declared."}, "no", "yes", oneIsGood,
			condition("TLSCompliant")),
		newState(text{"Backup fresh", "The newest backup of etcd is young enough."}, "no", "yes", oneIsGood,
			condition("BackupFresh")),
		newState(text{"Drifted", "Objects are not as declared."}, "no", "yes", oneIsBad, condition("Drifted")),
		newState(text{"Intent", "What each policy asks for now."}, "-", "is set", plain,
			query{`max by (policy, intent) (cpnp_policy_info{policy=~"$policy"})`, "{{policy}}: {{intent}}"}),
		newBars(text{"Findings", "Findings about the posture, by severity."}, quarter, "none", oneIsBad,
			query{`sum by (severity) (max by (policy, severity) (cpnp_policy_findings{policy=~"$policy"}))`, "{{severity}}"}),
		newBars(text{"Controls with findings", "Controls of frameworks that ask for what was found missing."}, quarter, "none", oneIsBad,
			query{`max by (check, framework, control) (cpnp_finding_info{policy=~"$policy"})`, "{{check}}: {{framework}} {{control}}"}),
	}
}

func driftRow() []cog.Builder[dashboard.Panel] {
	detected := func(label string) query {
		return query{
			`sum by (` + label + `) (rate(cpnp_drift_detected_total{policy=~"$policy"}[$__rate_interval])) * 3600`, "{{" + label + "}}",
		}
	}
	return []cog.Builder[dashboard.Panel]{
		newGraph(text{"Drift by kind, per hour", "Drifted fields and objects that were found."}, third, "none", detected("kind")),
		newGraph(text{"Drift by cause, per hour", "Missing, Modified or Unexpected."}, third, "none", detected("cause")),
		newGraph(text{"Drift by manager, per hour", "Who wrote the drifted fields."}, third, "none", detected("manager")),
		newGraph(text{"Repairs per hour", "Drifted fields and objects that were repaired, and fields that were released."}, third, "none",
			query{`sum by (kind) (rate(cpnp_drift_corrected_total{policy=~"$policy"}[$__rate_interval])) * 3600`, "repaired: {{kind}}"},
			query{`sum by (kind) (rate(cpnp_released_total{policy=~"$policy"}[$__rate_interval])) * 3600`, "released: {{kind}}"}),
		newGraph(text{"Managed objects", "Objects that the policies call for."}, third, "none",
			query{`sum by (kind) (max by (policy, kind) (cpnp_managed_objects{policy=~"$policy"}))`, "{{kind}}"}),
		newGraph(text{"Failed writes per hour", "Writes for policies that failed, by the reason that the API server gave."}, third, "none",
			query{`sum by (kind, reason) (rate(cpnp_apply_errors_total{policy=~"$policy"}[$__rate_interval])) * 3600`,
				"{{kind}}: {{reason}}"}),
	}
}

func rolloutRow() []cog.Builder[dashboard.Panel] {
	nodes := func(by string) string {
		return `sum by (` + by + `) (max by (policy, phase) (cpnp_rollout_nodes{policy=~"$policy"}))`
	}
	return []cog.Builder[dashboard.Panel]{
		newGraph(text{"Nodes by phase", "How far the protection of nodes is rolled out."}, half, "none", query{nodes("phase"), "{{phase}}"}).
			Stacking(stacked()),
		newBars(text{"Nodes by policy and phase", "The phases now."}, half, "none", plain, query{nodes("policy, phase"), "{{policy}}: {{phase}}"}),
	}
}

func latencyRow() []cog.Builder[dashboard.Panel] {
	quantile := func(metric string) string {
		return `histogram_quantile(0.9, sum by (component, observer, le) (rate(cpnp_probe_` + metric +
			`_duration_seconds_bucket{component=~"$component"}[$__rate_interval])))`
	}
	const answered = `result=~"Handshake|HandshakeFailed|Plaintext"`
	return []cog.Builder[dashboard.Panel]{
		newGraph(text{"TLS handshake, 90th percentile", "Nine in ten handshakes are faster, by component and observer."}, half, "s",
			query{quantile("handshake"), "{{component}} from {{observer}}"}),
		newGraph(text{"Connect, 90th percentile", "Nine in ten connections are made faster, by component and observer."}, half, "s",
			query{quantile("connect"), "{{component}} from {{observer}}"}),
		newBars(text{"Latest handshake, by node", "Which control-plane node is slow, and from where."}, third, "s",
			[]dashboard.Threshold{begin("green"), from(.1, "yellow"), from(.5, "red")},
			query{`max by (component, node, observer) (cpnp_probe_last_handshake_seconds{policy=~"$policy",component=~"$component"})`,
				"{{component}} on {{node}} from {{observer}}"}),
		newGraph(text{"Reachability", "The part of the attempts that got an answer. A connection that a policy closes gets none."}, third,
			"percentunit",
			query{`sum by (component, observer) (rate(cpnp_probe_attempts_total{component=~"$component",` + answered +
				`}[$__rate_interval])) / sum by (component, observer) (rate(cpnp_probe_attempts_total{component=~"$component"}[$__rate_interval]))`,
				"{{component}} from {{observer}}"}).Max(1),
		newGraph(text{"Attempts by result, per second", "What probes met."}, third, "none",
			query{`sum by (component, result) (rate(cpnp_probe_attempts_total{component=~"$component"}[$__rate_interval]))`,
				"{{component}}: {{result}}"}),
	}
}

func certificateRow() []cog.Builder[dashboard.Panel] {
	return []cog.Builder[dashboard.Panel]{
		newBars(text{"Days until certificates expire", "The certificate of the chain that expires first."}, half, "d",
			[]dashboard.Threshold{begin("red"), from(7, "yellow"), from(30, "green")},
			query{`sort((min by (component, node) (cpnp_certificate_expiry_timestamp_seconds{policy=~"$policy",component=~"$component"}) - time()) / 86400)`,
				"{{component}} on {{node}}"}),
		newGraph(text{"Age of the newest etcd backup", "Beside the age that the policy allows."}, half, "s",
			query{`time() - max by (policy) (cpnp_etcd_backup_timestamp_seconds{policy=~"$policy"})`, "{{policy}}"},
			query{`max by (policy) (cpnp_etcd_backup_max_age_seconds{policy=~"$policy"})`, "{{policy}}: allowed"}),
	}
}

// operatorRow is about the operator's own process. Metrics common to all controllers are
// taken from the operator alone, recognized by the build.
func operatorRow() []cog.Builder[dashboard.Panel] {
	const own = ` and on (job, instance) cpnp_build_info`
	return []cog.Builder[dashboard.Panel]{
		newNumber(text{"Version", "The version of each replica."}, quarter, plain,
			query{`max by (version, revision, go_version) (cpnp_build_info)`,
				"{{version}} ({{revision}}, {{go_version}})"}).TextMode("name"),
		newNumber(text{"Replicas", "Replicas that are scraped."}, quarter, oneIsGood, query{`count(cpnp_build_info)`, "replicas"}),
		newNumber(text{"Leaders", "Exactly one replica leads."}, quarter, []dashboard.Threshold{begin("red"), from(1, "green"), from(2, "red")},
			query{`sum(leader_election_master_status{name="cpnp-operator.cpnp.dev"})`, "leaders"}),
		newNumber(text{"Reconciliations that wait", "The length of the queues."}, quarter, []dashboard.Threshold{begin("green"), from(100, "yellow")},
			query{`sum(workqueue_depth` + own + `)`, "waiting"}),
		newGraph(text{"Reconciliations per second", "By controller."}, third, "none",
			query{`sum by (controller) (rate(controller_runtime_reconcile_total[$__rate_interval])` + own + `)`, "{{controller}}"}),
		newGraph(text{"Errors of reconciliations per second", "By controller."}, third, "none",
			query{`sum by (controller) (rate(controller_runtime_reconcile_errors_total[$__rate_interval])` + own + `)`,
				"{{controller}}"}),
		newGraph(text{"Duration of reconciliations, 90th percentile", "By controller."}, third, "s",
			query{`histogram_quantile(0.9, sum by (controller, le) (rate(controller_runtime_reconcile_time_seconds_bucket[$__rate_interval])` + own + `))`,
				"{{controller}}"}),
		newGraph(text{"Writes per second", "By kind of object and result."}, third, "none",
			query{`sum by (kind, result) (rate(cpnp_writes_total[$__rate_interval]))`, "{{kind}}: {{result}}"}),
		newGraph(text{"Verification, 90th percentile", "Planning, and judging what the plan would do to required flows."}, third, "s",
			query{`histogram_quantile(0.9, sum by (le) (rate(cpnp_verification_duration_seconds_bucket[$__rate_interval])))`, "verification"}),
		newGraph(text{"Requests to the API server per second", "By code."}, third, "none",
			query{`sum by (code) (rate(rest_client_requests_total[$__rate_interval])` + own + `)`, "{{code}}"}),
		newGraph(text{"Memory", "Resident memory of each replica."}, half, "bytes",
			query{`process_resident_memory_bytes` + own, "{{instance}}"}),
		newGraph(text{"Processor", "Cores that each replica uses."}, half, "none",
			query{`rate(process_cpu_seconds_total[$__rate_interval])` + own, "{{instance}}"}),
	}
}
