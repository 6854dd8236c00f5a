// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"sigs.k8s.io/controller-runtime/pkg/event"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
)

// ReportRequests carry requests for reports from the reconcilers of nodes and Services to
// the reconciler of policies. Requests are needed for facts without an event in the
// cluster, such as a failed write.
type ReportRequests struct{ events chan event.GenericEvent }

// NewReportRequests returns an empty channel of requests.
func NewReportRequests() *ReportRequests {
	const enough = 64 // requests for the same policy are soon merged by the queue
	return &ReportRequests{events: make(chan event.GenericEvent, enough)}
}

// Ask never blocks: with a full channel, a report is due anyway, and the retry of the
// failed write will ask again.
func (r *ReportRequests) Ask(policy string) {
	object := &v1alpha1.ControlPlaneNetworkPolicy{}
	object.Name = policy
	select {
	case r.events <- event.GenericEvent{Object: object}:
	default:
	}
}

// Signal reports a change. An unread signal stands for all changes since.
func Signal(changes chan<- event.GenericEvent) {
	select {
	case changes <- event.GenericEvent{Object: &v1alpha1.ControlPlaneNetworkPolicy{}}:
	default:
	}
}
