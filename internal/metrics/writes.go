// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"github.com/prometheus/client_golang/prometheus"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
)

// Results of a write.
const (
	// WriteSuccess: the API server accepted the write.
	WriteSuccess = "Success"
	// WriteConflict: the object was not as observed, because others were faster. The next
	// state of the object decides whether another write is needed.
	WriteConflict = "Conflict"
	// WriteRefused: the API server answered with another error.
	WriteRefused = "Refused"
	// WriteUnanswered: the API server did not answer in time, or not at all.
	WriteUnanswered = "Unanswered"
)

var writes = prometheus.NewCounterVec(prometheus.CounterOpts{
	Name: "cpnp_writes_total",
	Help: "Requests to the API server that write an object or its status, by kind of object and by result.",
}, []string{"kind", "result"})

func init() {
	metrics.Registry.MustRegister(writes)
}

// CountWrite counts one write of an object of a kind.
func CountWrite(kind string, err error) {
	writes.WithLabelValues(kind, resultOfWrite(err)).Inc()
}

func resultOfWrite(err error) string {
	switch {
	case err == nil:
		return WriteSuccess
	case apierrors.IsConflict(err), apierrors.IsAlreadyExists(err), apierrors.IsNotFound(err):
		return WriteConflict
	case apierrors.IsTimeout(err), apierrors.IsServerTimeout(err), apierrors.ReasonForError(err) == "":
		return WriteUnanswered
	default:
		return WriteRefused
	}
}
