// SPDX-License-Identifier: Apache-2.0

package policyreport

import (
	"context"
	"fmt"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/timing"
)

// Writer writes the reports of policies. The zero values of the other fields are ready to
// use.
type Writer struct {
	// Client writes, and knows which kinds are served.
	Client client.Client
	// Live asks the API server itself: reports are not watched.
	Live client.Reader
	// Clock tells the time. Nil means the clock of the machine.
	Clock clock.PassiveClock

	mutex sync.Mutex
	last  map[types.UID]written
	// pausedUntil is when the kinds are asked for again, after none was served.
	pausedUntil time.Time
	toldAbsence bool
}

// written is the memory of a report.
type written struct {
	digest string
	// since is when the results were found.
	since map[string]metav1.Timestamp
	// checked is when the report was read or written last; failed, when that failed last.
	checked, failed time.Time
}

func (w *Writer) now() time.Time {
	if w.Clock == nil {
		return time.Now()
	}
	return w.Clock.Now()
}

// Write writes the report of a policy, if the status tells something else than the report.
// Without a change, Write sends no request, except for a read once an hour. After a failure,
// Write tries again a minute later. Write is to be called with every status.
func (w *Writer) Write(ctx context.Context, policy *v1alpha1.ControlPlaneNetworkPolicy) error {
	if policy.DeletionTimestamp != nil || len(policy.Status.Conditions) == 0 {
		return nil // the report goes with the policy, and begins with its first status
	}
	now := w.now()
	memory := w.recall(policy.UID)
	results := resultsOf(policy, memory.since, metav1.NewTime(now))
	digest := digestOf(results)
	switch {
	case now.Sub(memory.failed) < timing.PolicyReportRetry:
		return nil
	case digest == memory.digest && now.Sub(memory.checked) < timing.PolicyReportCheck:
		return nil
	}
	of, served := w.servedKind(ctx, now)
	if !served {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, timing.PolicyReportWrite)
	defer cancel()
	since, err := w.ensure(ctx, of, policy, memory, metav1.NewTime(now))
	if err != nil {
		memory.failed = now
		w.remember(policy.UID, memory)
		return explain(of, policy, err)
	}
	w.remember(policy.UID, written{digest: digest, since: since, checked: now})
	return nil
}

// Due returns when Write is to be called again although the status has not changed: to try
// again after a failure or while no kind of report is served, and to look at the report. For a
// policy in deletion, Due returns zero: there is nothing to call Write for.
func (w *Writer) Due(policy *v1alpha1.ControlPlaneNetworkPolicy) time.Duration {
	if policy.DeletionTimestamp != nil {
		return 0
	}
	w.mutex.Lock()
	defer w.mutex.Unlock()
	now, memory := w.now(), w.last[policy.UID]
	next := memory.checked.Add(timing.PolicyReportCheck)
	switch {
	case now.Before(w.pausedUntil):
		next = w.pausedUntil
	case memory.checked.IsZero() && memory.failed.IsZero(): // a policy without a report
		next = now.Add(timing.PolicyReportCheck)
	case memory.failed.After(memory.checked):
		next = memory.failed.Add(timing.PolicyReportRetry)
	}
	return max(next.Sub(now), time.Second)
}

// ensure reads the report if the writer does not remember the report or a new read is due,
// and writes the report unless the report is as rendered. The returned times tell when the
// results were found.
func (w *Writer) ensure(
	ctx context.Context, of kind, policy *v1alpha1.ControlPlaneNetworkPolicy, memory written, now metav1.Time,
) (map[string]metav1.Timestamp, error) {
	live, since := (*unstructured.Unstructured)(nil), memory.since
	if now.Sub(memory.checked) >= timing.PolicyReportCheck {
		report := &unstructured.Unstructured{}
		report.SetGroupVersionKind(of.GroupVersionKind)
		switch err := w.Live.Get(ctx, client.ObjectKey{Name: namePrefix + policy.Name}, report); {
		case err == nil:
			live = report
		case !apierrors.IsNotFound(err):
			return nil, err
		}
		if live != nil && len(since) == 0 { // after a start, the report knows more than the operator
			since = timesOf(live)
		}
	}
	rendered, err := render(of, policy, resultsOf(policy, since, now))
	if err != nil {
		return nil, err
	}
	since = timesOf(rendered)
	if live != nil && isAsRendered(live, rendered) {
		return since, nil
	}
	return since, w.Client.Apply(ctx, client.ApplyConfigurationFromUnstructured(rendered),
		client.FieldOwner(v1alpha1.FieldManagerReports), client.ForceOwnership)
}

// servedKind returns the kind of reports that the cluster serves. If there is none, the log
// says so once, and the kinds are asked for again after a while.
func (w *Writer) servedKind(ctx context.Context, now time.Time) (of kind, served bool) {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	if now.Before(w.pausedUntil) {
		return kind{}, false
	}
	w.pausedUntil = now.Add(timing.PolicyReportRetry)
	for _, of := range kinds {
		switch _, err := w.Client.RESTMapper().RESTMapping(of.GroupKind(), of.Version); {
		case err == nil:
			w.pausedUntil, w.toldAbsence = time.Time{}, false
			return of, true
		case !meta.IsNoMatchError(err): // whether the kind is served is not known
			return kind{}, false
		}
	}
	if !w.toldAbsence {
		w.toldAbsence = true
		logf.FromContext(ctx).Info("No reports are written, because the cluster serves no kind of report: " +
			"install the definitions of openreports.io, or start the operator without --reports")
	}
	return kind{}, false
}

// explain says what to do about an error.
func explain(of kind, policy *v1alpha1.ControlPlaneNetworkPolicy, err error) error {
	what := fmt.Sprintf("writing %s %s%s", of.Kind, namePrefix, policy.Name)
	switch {
	case meta.IsNoMatchError(err), apierrors.IsNotFound(err):
		return fmt.Errorf("%s: the definition is gone: %w", what, err)
	case apierrors.IsForbidden(err):
		return fmt.Errorf("%s: %w; bind the ClusterRole cpnp-reports-writer to the operator, or set reports.enabled of the chart", what, err)
	}
	return fmt.Errorf("%s: %w", what, err)
}

func (w *Writer) recall(uid types.UID) written {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	return w.last[uid]
}

func (w *Writer) remember(uid types.UID, memory written) {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	if w.last == nil {
		w.last = map[types.UID]written{}
	}
	w.last[uid] = memory
}

// Forget forgets a policy that is gone. The garbage collection deletes the report.
func (w *Writer) Forget(uid types.UID) {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	delete(w.last, uid)
}
