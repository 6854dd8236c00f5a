// SPDX-License-Identifier: Apache-2.0

package follow

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
)

// The problems of the first moments after a start.
const (
	findingOut = "it is not known yet whether the API of Calico is served: the operator is reading the APIServices"
	beingRead  = "the operator is still reading the objects of Calico"
)

func isSettling(problem string) bool { return problem == findingOut || problem == beingRead }

const datastoreLocked = "Calico's datastore is locked (ClusterInformation default: datastoreReady is false), as during a migration or " +
	"an upgrade: the operator writes nothing until Calico unlocks the datastore"

const notInitialised = "Calico has not been initialised yet: there is no ClusterInformation default; " +
	"if the object does not appear, check that calico-node and calico-kube-controllers run"

// findProblem returns the reason why the objects cannot be relied on, with causes
// before consequences; empty if there is no problem.
func (f *Follower) findProblem() string {
	if f.services == nil {
		return findingOut
	}
	if late := lateKindsProblem(f.services.kinds); late != "" {
		return late
	}
	if !f.registered.complete {
		return findingOut
	}
	for _, problem := range []string{f.unavailableProblem(), f.migrationProblem(), f.readingProblem(), f.datastoreProblem()} {
		if problem != "" {
			return problem
		}
	}
	return ""
}

func (f *Follower) unavailableProblem() string {
	if f.served == nil || f.served.service.unavailable == "" {
		return ""
	}
	return fmt.Sprintf("the API of Calico does not answer: %s; check that Calico's API server runs and can be reached "+
		"(kubectl describe apiservice %s)", f.served.service.unavailable, v3Service)
}

func (f *Follower) migrationProblem() string {
	if f.migrating == nil {
		return ""
	}
	return f.migrating.firstProblem()
}

// readingProblem describes the kinds that are not completely read.
func (f *Follower) readingProblem() string {
	var kinds []*progress
	complete := true
	if f.migrating != nil {
		kinds = append(kinds, f.migrating.kinds...)
		complete = f.migrating.all.complete
	}
	if f.served != nil {
		kinds = append(kinds, f.served.kinds...)
		complete = complete && f.served.isComplete()
	}
	if late := lateKindsProblem(kinds); late != "" || complete {
		return late
	}
	return beingRead
}

// tooLargeText says which kinds are too large.
func (f *Follower) tooLargeText() string {
	if f.served == nil {
		return ""
	}
	return tooLargeText(f.options.Memory, f.served.kinds)
}

func (f *Follower) datastoreProblem() string {
	if f.served == nil {
		return ""
	}
	ready, found := f.served.cluster.get(clusterInformation)
	switch {
	case !found:
		return notInitialised
	case !ready:
		return datastoreLocked
	}
	return ""
}

// lateKindsProblem names the late kinds, with the reason for the first kind.
func lateKindsProblem(kinds []*progress) string {
	var first *progress
	var others []string
	for _, p := range kinds {
		switch {
		case !p.late:
		case first == nil:
			first = p
		default:
			others = append(others, p.kind.name)
		}
	}
	if first == nil {
		return ""
	}
	text := fmt.Sprintf("%s cannot be read: %s", first.kind.name, first.failureReason())
	if len(others) > 0 {
		text += "; cannot be read either: " + strings.Join(others, ", ")
	}
	return text
}

// failureReason returns why a kind cannot be read, and how to correct the cause.
func (p *progress) failureReason() string {
	err := p.err
	if found, is := asTooLarge(err); is {
		return fmt.Sprintf("of the objects with the label %s alone, %s; delete those that the operator did not make, "+
			"or raise the memory limit of the operator", v1alpha1.LabelPolicy, found.describe(p.kind, p.share))
	}
	switch {
	case err == nil:
		return fmt.Sprintf("the server has not answered within %s; check that the server runs", p.patience.Round(time.Second/10))
	case apierrors.IsForbidden(err), apierrors.IsUnauthorized(err):
		return fmt.Sprintf("%s; grant the operator list and watch of %s%s", errorCause(err), p.kind.GroupResource(), p.kind.also)
	case apierrors.IsNotFound(err):
		return fmt.Sprintf("the server does not have %s; complete or update the installation, with its CRDs", p.kind.GroupResource())
	}
	return errorCause(err) + "; the operator tries again; check that the server runs"
}

// errorCause returns the text of an error without the parts that differ between
// attempts, such as the port of a connection.
func errorCause(err error) string {
	err = unwrapHidden(err)
	if status := apierrors.APIStatus(nil); errors.As(err, &status) && status.Status().Message != "" {
		return status.Status().Message
	}
	if op := (*net.OpError)(nil); errors.As(err, &op) {
		return fmt.Sprintf("%s: %s", op.Op, op.Err)
	}
	return err.Error()
}
