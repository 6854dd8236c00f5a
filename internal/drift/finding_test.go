// SPDX-License-Identifier: Apache-2.0

package drift_test

import (
	"slices"
	"strings"
	"testing"

	. "github.com/onsi/gomega"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/drift"
)

func TestFindingMessages(t *testing.T) {
	long := strings.Repeat("x", 100)
	tests := map[string]struct {
		finding        drift.Finding
		says, repaired string
	}{
		"a field that was changed": {
			drift.Finding{Object: service, Field: "f", Cause: v1alpha1.CauseModified, Expected: "Local", Actual: "Cluster", By: kubectl},
			"Service/shop/web f is Cluster instead of Local, set by kubectl-edit",
			"Service/shop/web f was changed from Local to Cluster by kubectl-edit",
		},
		"a field that lost its value": {
			drift.Finding{Object: service, Field: "f", Cause: v1alpha1.CauseModified, Expected: "Local"},
			"Service/shop/web f is (none) instead of Local",
			"Service/shop/web f was changed from Local to (none) by an unknown writer",
		},
		"a taint that was removed": {
			drift.Finding{Object: drift.Object{Kind: "Node", Name: "cp-1"}, Field: "a:NoSchedule", Cause: v1alpha1.CauseMissing, By: kubectl},
			"Node/cp-1 a:NoSchedule is missing, set by kubectl-edit",
			"Node/cp-1 a:NoSchedule was removed by kubectl-edit",
		},
		"an object that was deleted": {
			drift.Finding{Object: drift.Object{Kind: "NetworkPolicy", Namespace: "shop", Name: "x"}, Cause: v1alpha1.CauseMissing},
			"NetworkPolicy/shop/x is missing",
			"NetworkPolicy/shop/x was removed by an unknown writer",
		},
		"a field that should not exist": {
			drift.Finding{Object: service, Field: "f", Cause: v1alpha1.CauseUnexpected, Actual: "[{}]"},
			"Service/shop/web f is [{}] and should not be there",
			"Service/shop/web f was added by an unknown writer",
		},
		"a message takes precedence over the standard wording": {
			drift.Finding{Object: service, Field: "f", Cause: v1alpha1.CauseModified, Actual: "x", By: kubectl, Message: "it would do harm"},
			"Service/shop/web f: it would do harm",
			"Service/shop/web f was changed from (none) to x by kubectl-edit",
		},
		"long values are shortened": {
			drift.Finding{Object: service, Field: "f", Cause: v1alpha1.CauseModified, Expected: long, Actual: "y"},
			"Service/shop/web f is y instead of " + long[:77] + "…",
			"Service/shop/web f was changed from " + long[:77] + "… to y by an unknown writer",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			g.Expect(test.finding.String()).To(Equal(test.says))
			g.Expect(test.finding.DescribeRepaired()).To(Equal(test.repaired))
		})
	}
}

func TestFindingsAreSortedByObjectAndField(t *testing.T) {
	var sorted []drift.Finding
	for _, kind := range []string{"NetworkPolicy", "Node"} {
		for _, namespace := range []string{"", "a", "b"} {
			for _, name := range []string{"x", "y"} {
				for _, field := range []string{"", "f", "g"} {
					for _, manager := range []string{"", "m"} {
						sorted = append(sorted, drift.Finding{
							Object: drift.Object{Kind: kind, Namespace: namespace, Name: name}, Field: field, By: drift.Manager{Name: manager},
						})
					}
				}
			}
		}
	}
	backwards := slices.Clone(sorted)
	slices.Reverse(backwards)
	slices.SortFunc(backwards, drift.CompareFindings)
	NewWithT(t).Expect(backwards).To(Equal(sorted))
}
