// SPDX-License-Identifier: Apache-2.0

package follow

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
)

// DefaultMemory is the memory of the operator as shipped.
const DefaultMemory = 256 << 20

// Of the memory of the operator, 3/16 are for the objects of Calico, and each kind has a
// separate share of the 3/16. Even a user with the right to write to a single tier can
// write many objects of Calico.
const (
	memoryParts, calicoParts = 16, 3
	// readFactor bounds the bytes of a list, in multiples of the share: the metadata that
	// the operator does not keep is mostly longer than the rest.
	readFactor = 4
	// fitParts of fitWhole of a share is how much has to fit before all objects of a kind
	// are read again.
	fitParts, fitWhole = 3, 4
)

// shares are the parts of Calico's memory for the kinds, out of 24.
var shares = map[string]int64{
	v3.KindGlobalNetworkPolicy: 9, v3.KindGlobalNetworkSet: 6, v3.KindHostEndpoint: 6,
	v3.KindTier: 1, v3.KindFelixConfiguration: 1, v3.KindIPPool: 1,
}

// shareOf returns the most memory for the objects of a kind, in bytes.
func shareOf(kind string, memory int64) int64 {
	return memory * calicoParts / memoryParts * shares[kind] / 24
}

// amount is how much there is of a kind, as far as read.
type amount struct {
	objects        int
	bytes, largest int64
	name           string // of the largest object
}

func (a *amount) add(name string, bytes int64) {
	a.objects++
	a.bytes += bytes
	if bytes > a.largest || bytes == a.largest && name < a.name {
		a.largest, a.name = bytes, name
	}
}

// tooLarge is the error of a kind whose objects take more memory than the share.
type tooLarge struct {
	amount
	unread bool // the answer had more bytes than the operator reads
}

// Error implements error.
func (t *tooLarge) Error() string { return "the objects take too much memory" }

// asTooLarge returns the error if objects are too large.
func asTooLarge(err error) (*tooLarge, bool) {
	var found *tooLarge
	return found, errors.As(err, &found)
}

// describe says of a kind how much there is and what the limit is.
func (t *tooLarge) describe(k kind, share int64) string {
	switch {
	case t.largest > share:
		return fmt.Sprintf("%s %s alone takes more than the %s that the operator has for the kind", k.name, t.name, mebibytes(share))
	case t.unread:
		return fmt.Sprintf("the list of the kind %s has more than the %s that the operator reads, with the first %d objects (largest: %s)",
			k.name, mebibytes(readFactor*share), t.objects, t.name)
	}
	return fmt.Sprintf("the first %d objects of the kind %s take more than the %s that the operator has for the kind (largest: %s)",
		t.objects, k.name, mebibytes(share), t.name)
}

// mebibytes writes a size for people.
func mebibytes(bytes int64) string {
	if bytes < 1<<20 {
		return fmt.Sprintf("%d KiB", bytes>>10)
	}
	return fmt.Sprintf("%d MiB", bytes>>20)
}

// tooLargeText says which kinds are too large, and what to do; empty if no kind is too
// large.
func tooLargeText(memory int64, kinds []*progress) string {
	var told []string
	resource := ""
	for _, p := range kinds {
		if p.tooLarge != nil {
			told = append(told, p.tooLarge.describe(p.kind, p.share))
			resource = cmp.Or(resource, p.kind.GroupResource().String())
		}
	}
	if len(told) == 0 {
		return ""
	}
	slices.Sort(told)
	return fmt.Sprintf("%s. Delete what is not needed (the largest: kubectl get %s -o json | "+
		`jq -r '.items[] | "\(tojson | length) \(.metadata.name)"' | sort -rn | head), `+
		"or raise the memory limit of the operator, which is %s", strings.Join(told, "; "), resource, mebibytes(memory))
}
