// SPDX-License-Identifier: Apache-2.0

package backup

import (
	"context"
	"fmt"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
	"github.com/cpnp-dev/cpnp-operator/internal/wording"
)

// maxSuspended is how many suspended CronJobs are named.
const maxSuspended = 3

// jobReader reads CronJobs and Jobs, and keeps the newest times.
type jobReader struct {
	live     client.Reader
	found    *Found
	selector labels.Selector
	in       string
	// cronJobs are the selected CronJobs.
	cronJobs map[types.UID]bool
	// first is the name of the first selected CronJob, suspended says which CronJobs do not
	// run.
	first     string
	suspended []string
	// jobs is how many Jobs were selected, or made by a selected CronJob.
	jobs int
}

// readJobs reads the CronJobs and Jobs that take backups.
func readJobs(ctx context.Context, live client.Reader, jobs v1alpha1.JobBackups, found *Found) {
	selector, err := jobs.Selector.Compile()
	if err != nil || selector.Empty() {
		found.Problem = "the selector of spec.posture.etcdBackup.source.jobs is not valid or empty: correct it"
		return
	}
	r := &jobReader{live: live, found: found, selector: selector, in: jobs.Namespace, cronJobs: map[types.UID]bool{}}
	if r.readCronJobs(ctx) {
		r.readJobs(ctx)
	}
	r.conclude()
}

// readCronJobs tells whether the CronJobs could be read.
func (r *jobReader) readCronJobs(ctx context.Context) bool {
	err := state.ListPages(ctx, r.live, func() client.ObjectList { return &batchv1.CronJobList{} }, func(page client.ObjectList) {
		for _, job := range page.(*batchv1.CronJobList).Items {
			r.addCronJob(&job)
		}
	}, client.InNamespace(r.in), client.MatchingLabelsSelector{Selector: r.selector})
	return r.explain("CronJob", err)
}

func (r *jobReader) addCronJob(job *batchv1.CronJob) {
	r.cronJobs[job.UID] = true
	if r.first == "" {
		r.first = job.Name
	}
	if ptr.Deref(job.Spec.Suspend, false) && len(r.suspended) < maxSuspended {
		r.suspended = append(r.suspended, fmt.Sprintf("CronJob %s/%s is suspended, and takes no more backups", r.in, job.Name))
	}
	r.found.addSuccess(Stamp{Time: timeOf(job.Status.LastSuccessfulTime), By: fmt.Sprintf("CronJob %s/%s", r.in, job.Name)})
}

// readJobs reads the Jobs. Jobs of a selected CronJob count by their owner, because Jobs
// have the labels of the CronJob's template, not the labels of the CronJob.
func (r *jobReader) readJobs(ctx context.Context) bool {
	options := []client.ListOption{client.InNamespace(r.in)}
	if len(r.cronJobs) == 0 {
		options = append(options, client.MatchingLabelsSelector{Selector: r.selector})
	}
	err := state.ListPages(ctx, r.live, func() client.ObjectList { return &batchv1.JobList{} }, func(page client.ObjectList) {
		for _, job := range page.(*batchv1.JobList).Items {
			owner := metav1.GetControllerOf(&job)
			if r.selector.Matches(labels.Set(job.Labels)) || owner != nil && r.cronJobs[owner.UID] {
				r.addJob(&job)
			}
		}
	}, options...)
	return r.explain("Job", err)
}

func (r *jobReader) addJob(job *batchv1.Job) {
	r.jobs++
	by := fmt.Sprintf("Job %s/%s", r.in, job.Name)
	for _, condition := range job.Status.Conditions {
		switch {
		case condition.Status != corev1.ConditionTrue:
		case condition.Type == batchv1.JobComplete:
			r.found.addSuccess(Stamp{Time: timeOf(job.Status.CompletionTime), By: by})
		case condition.Type == batchv1.JobFailed:
			r.found.addFailure(Stamp{Time: condition.LastTransitionTime.Time, By: by, Note: fmt.Sprintf(
				" (%s): kubectl logs --namespace=%s job/%s", wording.QuoteName(condition.Reason), shellWord(r.in), shellWord(job.Name))})
		}
	}
}

// explain tells whether a list could be read, and notes the problem if not.
func (r *jobReader) explain(kind string, err error) bool {
	if err != nil {
		problem := explainError(request{source: sourceJobs, kind: kind, namespace: r.in}, err)
		r.found.Problem, r.found.Transient = problem.text, problem.transient
	}
	return err == nil
}

// conclude says what is missing.
func (r *jobReader) conclude() {
	r.found.Notes = append(r.found.Notes, r.suspended...)
	in, selector := shellWord(r.in), shellWord(r.selector.String())
	look := fmt.Sprintf("kubectl get cronjobs,jobs --namespace=%s --selector=%s", in, selector)
	if r.found.Advice = "Look: " + look; r.first != "" {
		r.found.Advice = fmt.Sprintf("Take one: kubectl create job --namespace=%s etcd-backup-now --from=cronjob/%s", in, shellWord(r.first))
	}
	switch {
	case r.found.Newest.exists() || r.found.Problem != "":
	case len(r.cronJobs)+r.jobs == 0:
		r.found.Absent = fmt.Sprintf("namespace %s has no CronJob or Job with these labels. Compare the labels: %s", r.in, look)
	default:
		r.found.Absent = fmt.Sprintf("none of the %d selected CronJobs and Jobs in namespace %s has succeeded yet. Look: %s",
			len(r.cronJobs)+r.jobs, r.in, look)
	}
}
