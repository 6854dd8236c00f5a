// SPDX-License-Identifier: Apache-2.0

package calicowatch

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// What is a problem for a moment, after a start.
const (
	findingOut = "it is being found out whether there is an API of Calico"
	beingRead  = "Calico's objects are being read"
)

func settling(problem string) bool { return problem == findingOut || problem == beingRead }

const locked = "Calico's datastore is locked (ClusterInformation default: datastoreReady is false), as during a migration or " +
	"an upgrade: nothing is written until Calico unlocks it"

const notInitialised = "Calico has not been initialised yet: there is no ClusterInformation default; " +
	"if it does not appear, see whether calico-node and calico-kube-controllers run"

// problem is why what is read can not be relied on, the cause before what
// follows from it.
func (f *Follower) problem() string {
	if f.services == nil {
		return findingOut
	}
	if late := lateness(f.services.kinds); late != "" {
		return late
	}
	if !f.registered.complete {
		return findingOut
	}
	for _, problem := range []string{f.unavailable(), f.migration(), f.reading(), f.datastore()} {
		if problem != "" {
			return problem
		}
	}
	return ""
}

func (f *Follower) unavailable() string {
	if f.served == nil || f.served.service.unavailable == "" {
		return ""
	}
	return fmt.Sprintf("the API of Calico does not answer: %s; see whether its API server runs and can be reached "+
		"(kubectl describe apiservice %s)", f.served.service.unavailable, v3Service)
}

func (f *Follower) migration() string {
	if f.migrating == nil {
		return ""
	}
	return f.migrating.problem()
}

// reading is what is missing of what is to be read.
func (f *Follower) reading() string {
	var kinds []*progress
	complete := true
	if f.migrating != nil {
		kinds = append(kinds, f.migrating.kinds...)
		complete = f.migrating.all.complete
	}
	if f.served != nil {
		kinds = append(kinds, f.served.kinds...)
		complete = complete && f.served.complete()
	}
	if late := lateness(kinds); late != "" || complete {
		return late
	}
	return beingRead
}

func (f *Follower) datastore() string {
	if f.served == nil {
		return ""
	}
	ready, found := f.served.cluster.get(clusterInformation)
	switch {
	case !found:
		return notInitialised
	case !ready:
		return locked
	}
	return ""
}

// lateness names the kinds that can not be read, and says why of the first.
func lateness(kinds []*progress) string {
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
	text := fmt.Sprintf("%s can not be read: %s", first.kind.name, first.reason())
	if len(others) > 0 {
		text += "; nor can " + strings.Join(others, ", ")
	}
	return text
}

// reason is why a kind can not be read, and what to do.
func (p *progress) reason() string {
	err := p.err
	switch {
	case err == nil && p.watching:
		return fmt.Sprintf("the server has not told everything that there is within %s; if it stays so, update Calico, "+
			"or set KUBE_FEATURE_WatchListClient=false in the operator's environment", p.patience.Round(time.Second/10))
	case err == nil:
		return fmt.Sprintf("the server has not answered within %s; see whether it runs", p.patience.Round(time.Second/10))
	case apierrors.IsForbidden(err), apierrors.IsUnauthorized(err):
		return fmt.Sprintf("%s; grant the operator list and watch of %s%s", cause(err), p.kind.GroupResource(), p.kind.also)
	case apierrors.IsNotFound(err):
		return fmt.Sprintf("the server does not have %s; complete or update the installation, with its CRDs", p.kind.GroupResource())
	}
	return cause(err) + "; it is tried again; see whether the server runs"
}

// cause is what an error says, without what is another at each attempt: the
// port of a connection.
func cause(err error) string {
	err = unhidden(err)
	if status := apierrors.APIStatus(nil); errors.As(err, &status) && status.Status().Message != "" {
		return status.Status().Message
	}
	if op := (*net.OpError)(nil); errors.As(err, &op) {
		return fmt.Sprintf("%s: %s", op.Op, op.Err)
	}
	return err.Error()
}
