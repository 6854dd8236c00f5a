// SPDX-License-Identifier: Apache-2.0

package tlsprobe

import (
	"cmp"
	"time"

	"github.com/cpnp-dev/cpnp-operator/internal/timing"
)

// Limits bound the cost of a probe, however the servers behave.
type Limits struct {
	// Connection is the longest time for one connection, from dialling to closing.
	Connection time.Duration
	// Target is the longest time for all connections to a target.
	Target time.Duration
	// Bytes is the maximum number of bytes read from one connection. Certificates count.
	Bytes int
	// Parallel is the number of targets that ProbeAll probes at once.
	Parallel int
	// Certificates is the maximum number of certificates in Facts.
	Certificates int
	// Names is the maximum number of names of a target that are compared, and of names of a
	// certificate in Facts.
	Names int
}

// DefaultLimits returns the limits that apply where a field is zero. A usual chain of
// certificates has 2 to 8 KiB, and the list of accepted authorities in a request for a
// client certificate seldom more.
func DefaultLimits() Limits {
	return Limits{
		Connection:   timing.TLSConnection,
		Target:       timing.TLSTarget,
		Bytes:        128 << 10,
		Parallel:     8,
		Certificates: 8,
		Names:        32,
	}
}

// withDefaults returns the limits with the defaults for fields that are not positive.
func (l Limits) withDefaults() Limits {
	d := DefaultLimits()
	return Limits{
		Connection:   cmp.Or(max(l.Connection, 0), d.Connection),
		Target:       cmp.Or(max(l.Target, 0), d.Target),
		Bytes:        cmp.Or(max(l.Bytes, 0), d.Bytes),
		Parallel:     cmp.Or(max(l.Parallel, 0), d.Parallel),
		Certificates: cmp.Or(max(l.Certificates, 0), d.Certificates),
		Names:        cmp.Or(max(l.Names, 0), d.Names),
	}
}
