// SPDX-License-Identifier: Apache-2.0

package reporter

import (
	"cmp"
	"context"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/backend"
	"github.com/cpnp-dev/cpnp-operator/internal/backup"
	"github.com/cpnp-dev/cpnp-operator/internal/controls"
	"github.com/cpnp-dev/cpnp-operator/internal/metrics"
	"github.com/cpnp-dev/cpnp-operator/internal/pipeline"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/posture"
	"github.com/cpnp-dev/cpnp-operator/internal/report"
	"github.com/cpnp-dev/cpnp-operator/internal/schedule"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
)

// addPosture judges what spec.posture declares: TLS by what observers found, and backups of
// etcd by what was read last. Nothing is read here.
func (r *Reporter) addPosture(ctx context.Context, a pipeline.Assessment, in *report.Input) error {
	now := r.Clock.Now()
	if declared := a.Policy.TLSPosture(); declared != nil {
		postures, err := r.Observe.ListPostures(ctx)
		if err != nil {
			return err
		}
		verdict := posture.JudgeTLS(posture.Input{
			Declared: *declared, Plan: r.tlsPlan(a),
			Postures: state.PosturesOf(a.Policy.ControlPlaneNetworkPolicy, postures), Now: now,
		})
		in.TLS = &verdict
	}
	if declared := a.Policy.EtcdBackupPosture(); declared != nil {
		verdict := r.judgeBackup(a.Policy, *declared, now)
		in.Backup = &verdict
	}
	return nil
}

// judgeBackup judges the age of the newest backup. Before the first read of an operator that
// has just started, the last verdict stays.
func (r *Reporter) judgeBackup(policy *plan.Policy, declared v1alpha1.EtcdBackupPosture, now time.Time) backup.Verdict {
	found, known := r.Backups.Latest(policy.ControlPlaneNetworkPolicy)
	if !known {
		if last, is := backup.FromStatus(policy.ControlPlaneNetworkPolicy, now); is {
			return last
		}
	}
	return backup.Judge(declared, found, now)
}

// tlsPlan returns whose TLS is probed.
func (r *Reporter) tlsPlan(a pipeline.Assessment) plan.TLSPlan {
	if r.Observe.WithoutPostures {
		return plan.TLSPlan{Obstacle: &backend.Obstacle{
			Reason: v1alpha1.ReasonNotProbed,
			Message: "The API server does not serve ControlPlaneNodePostures: apply the CustomResourceDefinitions of this version, " +
				"and restart the operator and the probes",
		}}
	}
	return plan.TLSOf(a.Policy, a.Snapshot)
}

// untilPostureChanges returns when to judge again, because a verdict changes by the passing
// of time.
func untilPostureChanges(in report.Input, now time.Time) reconcile.Result {
	var result reconcile.Result
	if in.TLS != nil {
		result.RequeueAfter = max(in.TLS.Next.Sub(now), time.Second)
	}
	if in.Backup != nil && !in.Backup.Next.IsZero() {
		result = schedule.Sooner(result, reconcile.Result{RequeueAfter: max(in.Backup.Next.Sub(now), time.Second)})
	}
	return result
}

// tellPosture sets the metrics of the posture.
func tellPosture(policy *plan.Policy, in report.Input) {
	var findings []metrics.Finding
	var certificates []metrics.Certificate
	for _, f := range report.FindingsOf(in) {
		findings = append(findings, metrics.Finding{Check: f.Check, Severity: string(f.Severity), Controls: controlsOf(f)})
	}
	if in.TLS != nil {
		for _, c := range in.TLS.Certificates {
			certificates = append(certificates, metrics.Certificate{Component: string(c.Component), Node: c.Node, NotAfter: c.NotAfter})
		}
	}
	metrics.SetFindings(policy.Name, findings)
	metrics.SetCertificates(policy.Name, certificates)
	declared, newest := cmp.Or(policy.EtcdBackupPosture(), &v1alpha1.EtcdBackupPosture{}), time.Time{}
	if in.Backup != nil {
		newest = in.Backup.Newest
	}
	metrics.SetBackup(policy.Name, newest, time.Duration(declared.MaxAgeSeconds)*time.Second)
}

func controlsOf(f v1alpha1.Finding) []metrics.Control {
	var found []metrics.Control
	for _, c := range controls.ForCheck(f.Check, f.Component) {
		found = append(found, metrics.Control{Framework: c.Framework, ID: c.ID})
	}
	return found
}
