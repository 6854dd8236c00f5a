// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
)

// QuestionHash returns the hash of what the probes are asked: the node, the round and
// the targets. The operator notes it in the status, so that an observer can tell a
// question of the operator from one that somebody else has put there.
func (s *ControlPlaneNodeEnactmentSpec) QuestionHash() string {
	text, err := json.Marshal(s)
	if err != nil {
		return "" // texts and numbers can always be written as JSON
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:16])
}

// AsksAsDecided says whether the enactment asks what the operator decided to ask.
func (e *ControlPlaneNodeEnactment) AsksAsDecided() bool {
	return e.Status.AskedHash != "" && e.Status.AskedHash == e.Spec.QuestionHash()
}
