// SPDX-License-Identifier: Apache-2.0

// Package posture judges the facts found by observers about the TLS of the control plane.
// The package is pure. The facts are untrusted input: an observer on a stolen node can
// report wrong facts. Therefore a port is compliant only if no observer found otherwise,
// and the facts about a loopback address count only from the observer on the node itself.
package posture

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/wording"
)

// Input is what TLS is judged by.
type Input struct {
	// Declared is what the policy declares.
	Declared v1alpha1.TLSPosture
	// Plan says whose TLS is probed.
	Plan plan.TLSPlan
	// Postures are the postures of the policy's nodes.
	Postures []v1alpha1.ControlPlaneNodePosture
	// Now is the time of the judgement.
	Now time.Time
}

// Verdict is the judgement on a policy's TLS.
type Verdict struct {
	Status  metav1.ConditionStatus
	Reason  string
	Message string
	// Findings are sorted, the most severe first.
	Findings []v1alpha1.Finding
	// Ports is the number of ports to probe, Probed the number of ports that could be
	// judged.
	Ports, Probed int
	// Certificates has, for each component of a node, the certificate that expires first.
	Certificates []Expiry
	// Next is when to judge again: the verdict may change by the passing of time.
	Next time.Time
}

// Expiry is when the first certificate in the chain of a component expires.
type Expiry struct {
	Component v1alpha1.PostureComponent
	Node      string
	NotAfter  time.Time
}

// EarliestExpiry returns when the first certificate expires, or nil.
func (v Verdict) EarliestExpiry() *metav1.Time {
	var earliest *metav1.Time
	for _, c := range v.Certificates {
		if earliest == nil || c.NotAfter.Before(earliest.Time) {
			earliest = &metav1.Time{Time: c.NotAfter}
		}
	}
	return earliest
}

// JudgeTLS judges the TLS of a policy's nodes.
func JudgeTLS(in Input) Verdict {
	v := Verdict{Next: in.Now.Add(Interval(in.Declared.IntervalSeconds))}
	if in.Plan.Obstacle != nil {
		v.Status, v.Reason, v.Message = metav1.ConditionUnknown, in.Plan.Obstacle.Reason, in.Plan.Obstacle.Message
		return v
	}
	var unclear []doubt
	for _, node := range in.Plan.Nodes {
		for _, port := range portsOf(node) {
			judged := judgePort(in, port)
			v.Ports++
			v.Findings = append(v.Findings, judged.findings...)
			v.addExpiry(port, judged.expiry, in)
			if judged.doubt == nil {
				v.Probed++
			} else {
				unclear = append(unclear, *judged.doubt)
			}
		}
	}
	unclear = append(unclear, doubtsAboutPlan(in)...)
	for _, end := range freshUntil(in) {
		if end.Before(v.Next) {
			v.Next = end
		}
	}
	slices.SortFunc(v.Findings, CompareFindings)
	v.conclude(in, unclear)
	return v
}

// addExpiry notes when a certificate of a port expires, and when the verdict changes by it.
func (v *Verdict) addExpiry(port port, expires time.Time, in Input) {
	if expires.IsZero() {
		return
	}
	for _, at := range []time.Time{expires, expires.Add(-warning(in.Declared))} {
		if at.After(in.Now) && at.Before(v.Next) {
			v.Next = at
		}
	}
	same := func(e Expiry) bool { return e.Component == port.component && e.Node == port.node }
	if i := slices.IndexFunc(v.Certificates, same); i < 0 {
		v.Certificates = append(v.Certificates, Expiry{port.component, port.node, expires})
	} else if expires.Before(v.Certificates[i].NotAfter) {
		v.Certificates[i].NotAfter = expires
	}
}

// conclude sets status, reason and message.
func (v *Verdict) conclude(in Input, unclear []doubt) {
	severe := slices.DeleteFunc(slices.Clone(v.Findings), func(f v1alpha1.Finding) bool { return !IsSevere(f.Severity) })
	remarks := len(v.Findings) - len(severe)
	switch {
	case len(severe) > 0:
		v.Status, v.Reason = metav1.ConditionFalse, v1alpha1.ReasonNotCompliant
		v.Message = wording.CountOf(len(severe), "finding") + ": " + wording.ListPoints(messagesOf(severe))
		if len(unclear) > 0 {
			v.Message += ". " + describeDoubts(unclear)
		}
	case len(in.Plan.Nodes) == 0 && len(unclear) == 0:
		v.Status, v.Reason = metav1.ConditionUnknown, v1alpha1.ReasonNotProbed
		v.Message = "spec.nodeSelector selects no node"
	case len(unclear) > 0:
		v.Status, v.Reason = metav1.ConditionUnknown, v1alpha1.ReasonNotProbed
		v.Message = describeDoubts(unclear)
	default:
		v.Status, v.Reason = metav1.ConditionTrue, v1alpha1.ReasonCompliant
		v.Message = fmt.Sprintf("%s on %s: TLS is as declared", wording.CountOf(v.Ports, "port"), wording.CountOf(len(in.Plan.Nodes), "node"))
		if remarks > 0 {
			v.Message += "; " + wording.CountOf(remarks, "finding") + " of low severity in status.posture.findings"
		}
	}
}

// IsSevere tells whether a finding of the severity makes the condition False.
func IsSevere(severity v1alpha1.Severity) bool {
	return slices.Index(severities, severity) <= slices.Index(severities, v1alpha1.SeverityMedium)
}

// severities are all severities, the worst first.
var severities = []v1alpha1.Severity{
	v1alpha1.SeverityCritical, v1alpha1.SeverityHigh, v1alpha1.SeverityMedium, v1alpha1.SeverityLow, v1alpha1.SeverityInfo,
}

// CompareFindings orders findings, the most severe first.
func CompareFindings(a, b v1alpha1.Finding) int {
	return cmp.Or(
		cmp.Compare(slices.Index(severities, a.Severity), slices.Index(severities, b.Severity)),
		cmp.Compare(a.Check, b.Check), cmp.Compare(a.Node, b.Node), cmp.Compare(a.Component, b.Component), cmp.Compare(a.Message, b.Message))
}

func messagesOf(findings []v1alpha1.Finding) []string {
	messages := make([]string, 0, len(findings))
	for _, f := range findings {
		messages = append(messages, f.Message)
	}
	return messages
}
