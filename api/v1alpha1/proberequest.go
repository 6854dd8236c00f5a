// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
)

// Limits of the schema of a ControlPlaneNodeEnactment.
const (
	// MaxProbeTargets is the maximum number of targets.
	MaxProbeTargets = 64
	// MaxObservers is the maximum number of observers, and of those in the baseline.
	MaxObservers = 16
)

// ProbeRequestHash returns the hash of a probe request: policy, node, round and
// targets. The operator writes the hash into the status, so that an observer can tell a
// request of the operator from a request that another writer has put into the spec.
func (s *ControlPlaneNodeEnactmentSpec) ProbeRequestHash() string {
	text, err := json.Marshal(s)
	if err != nil {
		return "" // texts and numbers can always be written as JSON
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:16])
}

// HasOperatorsProbeRequest says whether the spec is the probe request of the operator.
func (e *ControlPlaneNodeEnactment) HasOperatorsProbeRequest() bool {
	return e.Status.ProbeRequestHash != "" && e.Status.ProbeRequestHash == e.Spec.ProbeRequestHash()
}
