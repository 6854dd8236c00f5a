// SPDX-License-Identifier: Apache-2.0

package posture

import (
	"net/netip"
	"slices"
	"time"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
)

// port is a port of a component on a node, with every probed address.
type port struct {
	node      string
	component v1alpha1.PostureComponent
	number    v1alpha1.PortNumber
	addresses []string
}

// portsOf groups the targets of a node by port.
func portsOf(node plan.NodeTargets) []port {
	var ports []port
	for _, target := range node.Targets {
		same := func(p port) bool { return p.component == target.Component && p.number == target.Port }
		if i := slices.IndexFunc(ports, same); i >= 0 {
			ports[i].addresses = append(ports[i].addresses, target.Address)
		} else {
			ports = append(ports, port{node.Node, target.Component, target.Port, []string{target.Address}})
		}
	}
	return ports
}

// judgement is what is known of a port.
type judgement struct {
	findings []v1alpha1.Finding
	// doubt is why the port cannot be judged, nil if it can.
	doubt *doubt
	// expiry is when the first of its certificates expires; zero if none was seen.
	expiry time.Time
}

// judgePort judges a port by the fresh results of all observers. A component may listen at
// a single address of the node: one address with all facts is enough.
func judgePort(in Input, p port) judgement {
	var j judgement
	results := resultsOf(in, p)
	complete := map[string]bool{}
	for _, r := range results {
		if !r.hasFacts() {
			continue
		}
		for _, finding := range findingsOf(in.Declared, p, r, in.Now) {
			if !slices.ContainsFunc(j.findings, func(f v1alpha1.Finding) bool { return f.Check == finding.Check }) {
				j.findings = append(j.findings, finding)
			}
		}
		for _, certificate := range r.Certificates {
			if certificate.NotAfter != nil && (j.expiry.IsZero() || certificate.NotAfter.Time.Before(j.expiry)) {
				j.expiry = certificate.NotAfter.Time
			}
		}
		if missingFact(p.component, r) == "" {
			complete[r.Address] = true
		}
	}
	// Every address that answered must have been judged.
	if len(complete) < max(countAnswering(results), 1) && !isClosed(in.Declared, p, results) {
		j.doubt = doubtAbout(in, p, slices.DeleteFunc(results, func(r seen) bool { return complete[r.Address] }))
	}
	return j
}

// isClosed tells whether a port is in spec.posture.tls.additionalPorts and does not answer.
// An additional port without an answer is as good as a port with good TLS.
func isClosed(declared v1alpha1.TLSPosture, p port, results []seen) bool {
	additional := slices.ContainsFunc(declared.AdditionalPorts, func(a v1alpha1.AdditionalPort) bool { return a.Port == p.number })
	return additional && len(results) > 0 && !slices.ContainsFunc(results, seen.answers)
}

// seen is the result of one observer.
type seen struct {
	observer string
	*v1alpha1.TLSResult
}

// countAnswering counts the addresses that answer.
func countAnswering(results []seen) int {
	answering := map[string]bool{}
	for _, r := range results {
		if r.answers() {
			answering[r.Address] = true
		}
	}
	return len(answering)
}

// answers tells whether something may listen at the address, also if its TLS is not known.
func (s seen) answers() bool {
	return s.hasFacts() || s.Outcome == v1alpha1.TLSSilent || s.Outcome == v1alpha1.TLSNotTLS || s.Outcome == v1alpha1.TLSNotFinished
}

// hasFacts tells whether the port answered.
func (s seen) hasFacts() bool {
	return s.Outcome == v1alpha1.TLSOpen || s.Plaintext == v1alpha1.PlaintextAnswered
}

// resultsOf returns the fresh results about a port, in the order of addresses and
// observers.
func resultsOf(in Input, p port) []seen {
	posture := postureOf(in.Postures, p.node)
	if posture == nil {
		return nil
	}
	var results []seen
	for _, address := range p.addresses {
		for i := range posture.Status.Observers {
			observation := &posture.Status.Observers[i]
			if !counts(posture, observation, in.Now) || !mayObserve(observation.Name, p.node, address) {
				continue
			}
			for j := range observation.Results {
				if result := &observation.Results[j]; result.Port == p.number && result.Address == address {
					results = append(results, seen{observation.Name, result})
				}
			}
		}
	}
	return results
}

func postureOf(postures []v1alpha1.ControlPlaneNodePosture, node string) *v1alpha1.ControlPlaneNodePosture {
	i := slices.IndexFunc(postures, func(p v1alpha1.ControlPlaneNodePosture) bool { return p.Spec.Node == node })
	if i < 0 {
		return nil
	}
	return &postures[i]
}

// counts tells whether an observation is fresh, and about the present targets.
func counts(p *v1alpha1.ControlPlaneNodePosture, o *v1alpha1.TLSObservation, now time.Time) bool {
	return o.ObservedGeneration == p.Generation && isFresh(o, Interval(p.Spec.IntervalSeconds), now)
}

// mayObserve tells whether the results of an observer count for an address: only the
// observer on the node itself can try loopback. The observer name of the operator is not
// the name of a node.
func mayObserve(observer, node, address string) bool {
	return observer == node && observer != v1alpha1.ObserverOperator || !IsLoopback(address)
}

// IsLoopback tells whether an address is a loopback address. Only the observer on the node
// itself can try loopback.
func IsLoopback(address string) bool {
	parsed, err := netip.ParseAddr(address)
	return err == nil && parsed.Unmap().IsLoopback()
}
