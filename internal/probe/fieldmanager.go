// SPDX-License-Identifier: Apache-2.0

package probe

import (
	"crypto/sha256"
	"encoding/hex"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
)

const (
	// maxFieldManager is the maximum length of the name of a field manager. The name
	// of a node may be twice as long.
	maxFieldManager = 128
	// hashLength is long enough for every node to have a different hash.
	hashLength = 16
)

// FieldManager returns the field manager of an observer: v1alpha1.FieldManagerProbe, a
// dot and the name of the observer. A result that is too long ends in a hash of the name
// instead.
func FieldManager(observer string) string {
	manager := v1alpha1.FieldManagerProbe + "." + observer
	if len(manager) <= maxFieldManager {
		return manager
	}
	sum := sha256.Sum256([]byte(observer))
	return manager[:maxFieldManager-hashLength-1] + "-" + hex.EncodeToString(sum[:])[:hashLength]
}
