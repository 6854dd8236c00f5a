// SPDX-License-Identifier: Apache-2.0

package report_test

import (
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/drift"
	"github.com/cpnp-dev/cpnp-operator/internal/report"
)

// The advice on how to end a contest is never cut from a message, however long the rest of the message is.
func TestMessagesNameWhatEndsAContest(t *testing.T) {
	const (
		services = "managedFieldsManagers: [cpnp.dev/services]"
		sync     = "RespectIgnoreDifferences=true"
		taints   = "declare the same taint where spec.taints of the Node is declared"
		owned    = "if the object is declared elsewhere, remove it there"
	)
	tests := map[string]struct {
		kind       string
		state      v1alpha1.DriftState
		says, nots []string
		in         string // the condition beside Drifted and Ready
	}{
		"over a Service":            {"Service", v1alpha1.StateContested, []string{services, sync}, []string{taints, owned}, "TrafficPoliciesInSync"},
		"that a write would start":  {"Service", v1alpha1.StateConflicted, []string{services, sync}, []string{taints, owned}, "TrafficPoliciesInSync"},
		"over a taint":              {"Node", v1alpha1.StateContested, []string{taints}, []string{services, owned}, "TaintsInSync"},
		"over a NetworkPolicy":      {"NetworkPolicy", v1alpha1.StateContested, []string{owned}, []string{services, taints}, "Programmed"},
		"over an object of Calico":  {"HostEndpoint", v1alpha1.StateContested, []string{owned}, []string{services, taints}, "Programmed"},
		"where there is no contest": {"Service", v1alpha1.StateDrifted, nil, []string{services, taints, owned}, "TrafficPoliciesInSync"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			status := report.StatusOf(input(many(100, func(i int, in *report.Input) {
				f := finding(test.kind, nth(i)+strings.Repeat("x", 240), "f", test.state)
				f.By.Name = "argocd-controller"
				f.Message = strings.Repeat("y", 600)
				switch test.kind {
				case "Service":
					in.Services.Findings = append(in.Services.Findings, f)
				case "Node":
					in.Taints.Findings = append(in.Taints.Findings, f)
				case "NetworkPolicy":
					in.Network.Findings = append(in.Network.Findings, f)
				default:
					in.Hosts.Findings = append(in.Hosts.Findings, f)
				}
			})))
			for _, kind := range []string{"Drifted", "Ready", test.in} {
				message := meta.FindStatusCondition(status.Conditions, kind).Message
				g.Expect(len(message)).To(BeNumerically("<=", 2048))
				for _, part := range test.says {
					g.Expect(message).To(ContainSubstring(part), kind)
				}
				for _, part := range test.nots {
					g.Expect(message).NotTo(ContainSubstring(part), kind)
				}
			}
		})
	}
}

// A field was contested, and is left alone now that the other manager declares it.
func TestAFieldThatIsLeftAloneIsNotContested(t *testing.T) {
	g := NewWithT(t)
	status := report.StatusOf(input(func(in *report.Input) {
		in.Services.Findings = append(in.Services.Findings, finding("Service", "fought", "externalTrafficPolicy", v1alpha1.StateConflicted))
	}, contested))
	g.Expect(meta.FindStatusCondition(status.Conditions, "Ready").Reason).To(Equal("Conflicted"))
	g.Expect(status.Drift).To(ConsistOf(HaveField("State", v1alpha1.StateConflicted)))
}

func TestEventOfAFieldThatIsNotRestored(t *testing.T) {
	f := finding("Service", "web", "externalTrafficPolicy", v1alpha1.StateDrifted)
	f.By = drift.Manager{Name: "argocd-controller"}
	g := NewWithT(t)
	events := report.ReleaseEvents(drift.Releases{Kept: []drift.Finding{f}})
	g.Expect(events).To(HaveLen(1))
	e := events[0]
	g.Expect(e.Type).To(Equal("Warning"))
	g.Expect(e.Reason).To(Equal("StillHeld"))
	g.Expect(e.Note).To(ContainSubstring("because argocd-controller holds it too"))
}
