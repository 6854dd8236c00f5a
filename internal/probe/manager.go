// SPDX-License-Identifier: Apache-2.0

package probe

import (
	"crypto/sha256"
	"encoding/hex"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
)

const (
	// maxFieldManager is how many characters a field manager may have. The name
	// of a node may have twice as many.
	maxFieldManager = 128
	// hashLength is enough of a hash that no two nodes share it.
	hashLength = 16
)

// FieldManager returns the field manager of an observer: v1alpha1's, a dot and
// the name. Where that is too long, the name ends in a hash of the whole.
func FieldManager(observer string) string {
	manager := v1alpha1.FieldManagerProbe + "." + observer
	if len(manager) <= maxFieldManager {
		return manager
	}
	sum := sha256.Sum256([]byte(observer))
	return manager[:maxFieldManager-hashLength-1] + "-" + hex.EncodeToString(sum[:])[:hashLength]
}
