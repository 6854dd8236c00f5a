// SPDX-License-Identifier: Apache-2.0

package report_test

import (
	"errors"
	"flag"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/report"
	"github.com/cpnp-dev/cpnp-operator/test/fixture"
)

var update = flag.Bool("update", false, "write the fixtures anew")

// Other tests read the fixtures: test/gitops runs kstatus and Argo CD's health
// check on the fixtures, and writes the table of docs/status.md.
func TestFixturesMatchTheReports(t *testing.T) {
	objects := map[string]any{
		"new":                         policyWith(input(), v1alpha1.ControlPlaneNetworkPolicyStatus{ObservedGeneration: -1}),
		"the cluster cannot be read":  policyWith(input(), report.UnknownStatus(input().Policy, errors.New("no answer"), now)),
		"changed, not observed again": changed(),
	}
	for name, edits := range scenarios {
		in := input(edits...)
		objects[name] = policyWith(in, statusOf(in))
	}
	fixture.CompareAll(t, "../../examples/gitops/argo-cd/resource_customizations/cpnp.dev/ControlPlaneNetworkPolicy/testdata", objects, *update)
}

func policyWith(in report.Input, status v1alpha1.ControlPlaneNetworkPolicyStatus) *v1alpha1.ControlPlaneNetworkPolicy {
	policy := in.Policy.DeepCopy()
	policy.TypeMeta = metav1.TypeMeta{APIVersion: v1alpha1.SchemeGroupVersion.String(), Kind: "ControlPlaneNetworkPolicy"}
	policy.Status = status
	return policy
}

// changed is a policy whose spec was changed after the report.
func changed() *v1alpha1.ControlPlaneNetworkPolicy {
	policy := policyWith(input(), statusOf(input()))
	policy.Generation++
	return policy
}
