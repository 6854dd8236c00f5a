// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// LabelSelector selects objects by their labels. The selector has the syntax and
// meaning of the label selector of Kubernetes, but every part is bounded, and is
// checked when the selector is written and not only when the selector is used.
type LabelSelector struct {
	// matchLabels are labels that an object must have, with these values.
	// +kubebuilder:validation:MaxProperties=16
	// +optional
	MatchLabels map[string]LabelValue `json:"matchLabels,omitempty"`

	// matchExpressions are further requirements. All requirements must be met.
	// +kubebuilder:validation:MaxItems=8
	// +listType=atomic
	// +optional
	MatchExpressions []LabelSelectorRequirement `json:"matchExpressions,omitempty"`
}

// LabelSelectorRequirement is one requirement on a label.
//
// +kubebuilder:validation:XValidation:rule="(self.operator in ['In', 'NotIn']) == (has(self.values) && size(self.values) > 0)",message="values must list at least one value for the operators In and NotIn, and must be left out for Exists and DoesNotExist"
type LabelSelectorRequirement struct {
	// key is the label's key.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=317
	// +kubebuilder:validation:XValidation:rule="!format.qualifiedName().validate(self).hasValue()",message="key must be a valid label key, such as topology.kubernetes.io/zone"
	// +required
	Key string `json:"key,omitempty"`

	// operator relates the label to the values.
	// +required
	Operator LabelSelectorOperator `json:"operator,omitempty"`

	// values are the values to which the operators In and NotIn compare the label.
	// +kubebuilder:validation:MaxItems=16
	// +listType=atomic
	// +optional
	Values []LabelValue `json:"values,omitempty"`
}

// LabelValue is the value of a label.
//
// +kubebuilder:validation:MaxLength=63
// +kubebuilder:validation:XValidation:rule="!format.labelValue().validate(self).hasValue()",message="must be a valid label value: at most 63 letters, digits, '-', '_' and '.', beginning and ending with a letter or a digit, or empty"
type LabelValue string

// LabelSelectorOperator relates a label to values.
//
// +kubebuilder:validation:Enum=In;NotIn;Exists;DoesNotExist
type LabelSelectorOperator string

// ToMeta returns the selector in the form of Kubernetes' own types.
func (s LabelSelector) ToMeta() *metav1.LabelSelector {
	out := &metav1.LabelSelector{}
	for key, value := range s.MatchLabels {
		metav1.AddLabelToSelector(out, key, string(value))
	}
	for _, r := range s.MatchExpressions {
		requirement := metav1.LabelSelectorRequirement{Key: r.Key, Operator: metav1.LabelSelectorOperator(r.Operator)}
		for _, value := range r.Values {
			requirement.Values = append(requirement.Values, string(value))
		}
		out.MatchExpressions = append(out.MatchExpressions, requirement)
	}
	return out
}

// Compile returns the selector in the form that matches labels. The schema cannot look
// at the keys of a map, so that an invalid key under matchLabels is found only here;
// the error names the key.
func (s LabelSelector) Compile() (labels.Selector, error) {
	return metav1.LabelSelectorAsSelector(s.ToMeta())
}
