// SPDX-License-Identifier: Apache-2.0

package reporter

import (
	"context"

	"github.com/cpnp-dev/cpnp-operator/internal/compare"
	"github.com/cpnp-dev/cpnp-operator/internal/pipeline"
	"github.com/cpnp-dev/cpnp-operator/internal/report"
	"github.com/cpnp-dev/cpnp-operator/internal/verify"
)

// Input collects the inputs of a report.
func (r *Reporter) Input(ctx context.Context, a pipeline.Assessment) (report.Input, error) {
	in := a.ReportInput()
	in.History = r.History.Summarize(a.Policy.Name, r.Clock.Now())
	pods, err := r.Observe.ListHostNetworkedPods(ctx, pipeline.ComponentNamespaces(a.Policy))
	if err != nil {
		return in, err
	}
	in.Effective = a.Effective(pods)
	if err := r.addPosture(ctx, a, &in); err != nil {
		return in, err
	}
	if err := r.addExposed(ctx, a, &in); err != nil {
		return in, err
	}
	return in, r.comparer.AddTo(ctx, &in, a, compare.Sources{Observe: r.Observe, History: r.History, Now: r.Clock.Now()})
}

// addExposed adds to the verdict the Services that bypass restrictions.
func (r *Reporter) addExposed(ctx context.Context, a pipeline.Assessment, in *report.Input) error {
	if a.Policy.Spec.Network == nil || a.Policy.Invalid != nil {
		return nil
	}
	exposed, err := r.Observe.ListExposedServices(ctx)
	if err != nil {
		return err
	}
	in.Effective = verify.AddServiceBypasses(in.Effective, a.Hosts, a.Network, a.Snapshot.Nodes, exposed)
	return nil
}
