// SPDX-License-Identifier: Apache-2.0

package metrics_test

import (
	"testing"

	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/intent"
	"github.com/cpnp-dev/cpnp-operator/internal/metrics"
)

func TestARemovedConditionHasNoSeries(t *testing.T) {
	g := NewWithT(t)
	metrics.SetPolicies([]string{"p"})
	t.Cleanup(func() { metrics.SetPolicies(nil) })
	status := &v1alpha1.ControlPlaneNetworkPolicyStatus{
		Conditions: []metav1.Condition{{Type: "Ready", Status: "False"}, {Type: "Stalled", Status: "True"}},
		Nodes:      &v1alpha1.NodeCounts{Pending: ptr.To(int32(2)), Enforced: ptr.To(int32(1))},
	}
	metrics.SetStatus("p", intent.Enforce, status)
	g.Expect(series(t)).To(HaveExactElements(
		"cpnp_policy_condition{policy=p,status=False,type=Ready} 1",
		"cpnp_policy_condition{policy=p,status=False,type=Stalled} 0",
		"cpnp_policy_condition{policy=p,status=True,type=Ready} 0",
		"cpnp_policy_condition{policy=p,status=True,type=Stalled} 1",
		"cpnp_policy_condition{policy=p,status=Unknown,type=Ready} 0",
		"cpnp_policy_condition{policy=p,status=Unknown,type=Stalled} 0",
		"cpnp_policy_info{intent=Enforce,policy=p} 1",
		"cpnp_rollout_nodes{phase=Aborted,policy=p} 0",
		"cpnp_rollout_nodes{phase=Enforced,policy=p} 1",
		"cpnp_rollout_nodes{phase=Pending,policy=p} 2",
		"cpnp_rollout_nodes{phase=Progressing,policy=p} 0",
		"cpnp_rollout_nodes{phase=Reverted,policy=p} 0",
	))
	status = &v1alpha1.ControlPlaneNetworkPolicyStatus{Conditions: []metav1.Condition{{Type: "Ready", Status: "True"}}}
	metrics.SetStatus("p", intent.Audit, status)
	g.Expect(series(t)).To(HaveExactElements(
		"cpnp_policy_condition{policy=p,status=False,type=Ready} 0",
		"cpnp_policy_condition{policy=p,status=True,type=Ready} 1",
		"cpnp_policy_condition{policy=p,status=Unknown,type=Ready} 0",
		"cpnp_policy_info{intent=Audit,policy=p} 1",
	))
}
