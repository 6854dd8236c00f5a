// SPDX-License-Identifier: Apache-2.0

package backup

import (
	"context"
	"errors"
	"fmt"
	"regexp"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/cpnp-dev/cpnp-operator/internal/timing"
	"github.com/cpnp-dev/cpnp-operator/internal/wording"
)

// request is what the API server was asked for.
type request struct {
	source          source
	kind, group     string
	namespace, name string
	// of is the owner of the named object, if the owner is another object.
	of string
}

// String names what was asked for.
func (r request) String() string {
	switch {
	case r.name != "":
		return fmt.Sprintf("%s %s/%s", r.kind, wording.QuoteName(r.namespace), wording.QuoteName(r.name))
	case r.namespace != "":
		return fmt.Sprintf("%ss in namespace %s", r.kind, wording.QuoteName(r.namespace))
	default:
		return r.kind + "s"
	}
}

// problem is why a source could not be read.
type problem struct {
	// text says the problem and what to do.
	text string
	// absent tells that the named object does not exist, while the kind is served.
	absent bool
	// transient tells that trying again may help.
	transient bool
}

// explainError returns the problem of an error of the API server.
func explainError(asked request, err error) problem {
	switch {
	case err == nil:
		return problem{}
	case isUnserved(asked, err):
		return problem{text: fmt.Sprintf("the cluster does not serve %s (%s). Declare a source that the cluster has: "+
			"kubectl explain cpnp.spec.posture.etcdBackup.source", asked.kind, asked.group)}
	case apierrors.IsNotFound(err):
		return problem{absent: true}
	case apierrors.IsForbidden(err):
		return problem{text: fmt.Sprintf("the operator may not read %s. Grant it: %s", asked, grantCommand(asked, err))}
	case errors.Is(err, context.DeadlineExceeded), apierrors.IsTimeout(err), apierrors.IsServerTimeout(err):
		return problem{transient: true, text: fmt.Sprintf("the API server did not show %s within %s. The operator tries again",
			asked, timing.BackupRead)}
	}
	return problem{transient: true, text: fmt.Sprintf("%s could not be read: %s. The operator tries again",
		asked, wording.OneLine(err.Error(), 200))}
}

// isUnserved tells whether the API server does not know the kind: either by the list of
// kinds, or by an answer that is not about an object.
func isUnserved(asked request, err error) bool {
	if meta.IsNoMatchError(err) {
		return true
	}
	var status apierrors.APIStatus
	if !apierrors.IsNotFound(err) || !errors.As(err, &status) {
		return false
	}
	details := status.Status().Details
	if asked.name == "" || details == nil {
		return true
	}
	for _, cause := range details.Causes {
		if cause.Type == metav1.CauseTypeUnexpectedServerResponse {
			return true
		}
	}
	return false
}

// refusedAccount finds the service account in a refusal by RBAC.
var refusedAccount = regexp.MustCompile(`User "system:serviceaccount:([a-z0-9.-]+:[a-z0-9.-]+)"`)

// defaultAccount is the service account of config/default.
const defaultAccount = "cpnp-system:cpnp-controller-manager"

// accountOf returns the service account that was refused, as namespace:name.
func accountOf(err error) string {
	if match := refusedAccount.FindStringSubmatch(err.Error()); match != nil {
		return match[1]
	}
	return defaultAccount
}
