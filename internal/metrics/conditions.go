// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"github.com/prometheus/client_golang/prometheus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/intent"
)

var (
	policyInfo = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "cpnp_policy_info",
		Help: "Always 1; the label intent is what the policy asks for now.",
	}, []string{"policy", "intent"})

	condition = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "cpnp_policy_condition",
		Help: "Whether a condition of the policy has a status: 1 for the status that the condition has, and 0 for the others.",
	}, []string{"policy", "type", "status"})

	rolloutNodes = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "cpnp_rollout_nodes",
		Help: "Nodes whose protection is rolled out for the policy, by phase.",
	}, []string{"policy", "phase"})
)

func init() {
	metrics.Registry.MustRegister(policyInfo, condition, rolloutNodes)
}

var statuses = []metav1.ConditionStatus{metav1.ConditionTrue, metav1.ConditionFalse, metav1.ConditionUnknown}

// SetStatus sets the intent of the policy, and the conditions and the phases of the nodes as
// in its status. The series of a condition that is no longer in the status is deleted.
func SetStatus(policy string, asksFor intent.Intent, status *v1alpha1.ControlPlaneNetworkPolicyStatus) {
	book.replaceGauge(policy, policyInfo, []gaugeValue{{[]string{string(asksFor)}, 1}})
	var conditions []gaugeValue
	for _, c := range status.Conditions {
		for _, s := range statuses {
			conditions = append(conditions, gaugeValue{[]string{c.Type, string(s)}, boolValue(c.Status == s)})
		}
	}
	book.replaceGauge(policy, condition, conditions)
	book.replaceGauge(policy, rolloutNodes, phaseValues(status.Nodes))
}

// phaseValues returns the number of nodes in each phase, nothing without a rollout.
func phaseValues(nodes *v1alpha1.NodeCounts) []gaugeValue {
	if nodes == nil {
		return nil
	}
	var values []gaugeValue
	for phase, count := range map[string]*int32{
		v1alpha1.PhasePending: nodes.Pending, v1alpha1.PhaseProgressing: nodes.Progressing, v1alpha1.PhaseEnforced: nodes.Enforced,
		v1alpha1.PhaseReverted: nodes.Reverted, v1alpha1.PhaseAborted: nodes.Aborted,
	} {
		value := 0.0
		if count != nil {
			value = float64(*count)
		}
		values = append(values, gaugeValue{[]string{phase}, value})
	}
	return values
}

func boolValue(is bool) float64 {
	if is {
		return 1
	}
	return 0
}
