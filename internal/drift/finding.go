// SPDX-License-Identifier: Apache-2.0

// Package drift compares the declared with the live state, and reports each difference with
// kind and writer. The package is pure.
package drift

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/wording"
)

// Object names an object of the cluster.
type Object struct{ Kind, Namespace, Name string }

// String returns the object as Kind/name or Kind/namespace/name.
func (o Object) String() string {
	if o.Namespace == "" {
		return o.Kind + "/" + o.Name
	}
	return o.Kind + "/" + o.Namespace + "/" + o.Name
}

// Finding is one difference: in a single field of an object, or a whole object.
type Finding struct {
	// Policy is the policy that calls for the object.
	Policy string
	Object Object
	// Field is the differing field; empty for a whole object.
	Field string
	Cause v1alpha1.DriftCause
	State v1alpha1.DriftState
	// Expected and Actual are the values, empty where there is none.
	Expected, Actual string
	// By is the writer behind the difference, if known.
	By Manager
	// Unrepaired tells that the operator writes no object for the policy now, as in mode
	// Audit. The difference is then no round of a contest, whoever the writer is.
	Unrepaired bool
	// Message says more where there is more to say.
	Message string
}

// String describes the finding in one line, for events and conditions.
func (f Finding) String() string {
	named := strings.TrimSpace(f.Object.String() + " " + f.Field)
	switch {
	case f.Message != "":
		return named + ": " + f.Message
	case f.State == v1alpha1.StateContested:
		return named + f.describeContest()
	}
	return f.Object.String() + " " + f.DescribeDifference()
}

// DescribeDifference describes the finding without its object.
func (f Finding) DescribeDifference() string {
	text := strings.TrimSpace(f.Field + " is ")
	switch f.Cause {
	case v1alpha1.CauseMissing:
		text += " missing"
	case v1alpha1.CauseUnexpected:
		text += fmt.Sprintf(" %s and should not be there", quoteValue(f.Actual))
	default:
		text += fmt.Sprintf(" %s instead of %s", quoteValue(f.Actual), quoteValue(f.Expected))
	}
	if f.By.Name != "" {
		text += ", set by " + managerText(f.By.Name)
	}
	return text
}

// describeContest describes a contested field. At the moment the field may be as declared.
func (f Finding) describeContest() string {
	by := "one or several whose names the object does not tell"
	if f.By.Name != "" {
		by = managerText(f.By.Name)
	}
	switch f.Cause {
	case v1alpha1.CauseMissing:
		return " is removed again and again by " + by
	case v1alpha1.CauseUnexpected:
		return fmt.Sprintf(" is set to %s, and should not be there, again and again by %s", quoteValue(f.Actual), by)
	default:
		return fmt.Sprintf(" is set to %s instead of %s again and again by %s", quoteValue(f.Actual), quoteValue(f.Expected), by)
	}
}

// DescribeKept describes a released field that keeps the operator's value.
func (f Finding) DescribeKept() string {
	return fmt.Sprintf("%s %s was released and stays %s, because %s holds it too: change it there",
		f.Object, f.Field, quoteValue(f.Actual), managerText(f.By.Name))
}

// DescribeRestored describes a released field with its original value.
func (f Finding) DescribeRestored() string {
	if f.Expected == "" {
		return fmt.Sprintf("%s %s was removed", f.Object, f.Field)
	}
	return fmt.Sprintf("%s %s was restored from %s to %s", f.Object, f.Field, quoteValue(f.Actual), quoteValue(f.Expected))
}

// DescribeRepaired describes a repaired finding.
func (f Finding) DescribeRepaired() string {
	by := "an unknown writer"
	if f.By.Name != "" {
		by = managerText(f.By.Name)
	}
	what := strings.TrimSpace(f.Object.String() + " " + f.Field)
	switch f.Cause {
	case v1alpha1.CauseMissing:
		return fmt.Sprintf("%s was removed by %s", what, by)
	case v1alpha1.CauseUnexpected:
		return fmt.Sprintf("%s was added by %s", what, by)
	default:
		return fmt.Sprintf("%s was changed from %s to %s by %s", what, quoteValue(f.Expected), quoteValue(f.Actual), by)
	}
}

// clientSideApply is the name for a manager that the object does not name.
const clientSideApply = "a client-side apply"

// managerText renders a manager for a sentence: a fixed phrase of the package unchanged, a name
// of several words in quotes.
func managerText(by string) string {
	if by == ToolArgo || by == clientSideApply {
		return by
	}
	return wording.QuoteName(by)
}

const shown = 80 // characters of a value in a message

func quoteValue(value string) string {
	if value == "" {
		return "(none)"
	}
	return wording.Shorten(value, shown)
}

// CompareFindings orders findings by object, field and manager.
func CompareFindings(a, b Finding) int {
	return cmp.Or(
		cmp.Compare(a.Object.Kind, b.Object.Kind),
		cmp.Compare(a.Object.Namespace, b.Object.Namespace),
		cmp.Compare(a.Object.Name, b.Object.Name),
		cmp.Compare(a.Field, b.Field),
		cmp.Compare(a.By.Name, b.By.Name),
	)
}
