// SPDX-License-Identifier: Apache-2.0

package wording

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
)

// ShortenName returns the name of an object unless it is longer than the limit, in bytes.
// A longer name is cut and gets a hash of the whole, so that different names stay
// different. The end of the cut name is valid in the name of an object.
func ShortenName(name string, limit int) string {
	if len(name) <= limit {
		return name
	}
	sum := sha256.Sum256([]byte(name))
	hash := hex.EncodeToString(sum[:8])
	return strings.TrimRight(name[:limit-1-len(hash)], ".-") + "-" + hash
}
