package main

import (
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

var groupVersion = schema.GroupVersion{Group: "crs.qcloud.com", Version: "v1alpha1"}

// RedisInstance is the same resource that crs-operator has, as far as this one needs it.
type RedisInstance struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   RedisInstanceSpec   `json:"spec"`
	Status RedisInstanceStatus `json:"status,omitempty"`
}

type RedisInstanceSpec struct {
	RedisID              string          `json:"redisId"`
	Region               string          `json:"region"`
	MemSize              int64           `json:"memSize"`
	CredentialsSecretRef SecretReference `json:"credentialsSecretRef"`
}

type SecretReference struct {
	Name string `json:"name"`
}

type RedisInstanceStatus struct {
	ObservedGeneration int64              `json:"observedGeneration,omitempty"`
	MemSize            int64              `json:"memSize,omitempty"`
	InstanceStatus     string             `json:"instanceStatus,omitempty"`
	DealID             string             `json:"dealId,omitempty"`
	Conditions         []metav1.Condition `json:"conditions,omitempty"`
}

type RedisInstanceList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []RedisInstance `json:"items"`
}

func addToScheme(scheme *runtime.Scheme) error {
	scheme.AddKnownTypes(groupVersion, &RedisInstance{}, &RedisInstanceList{})
	metav1.AddToGroupVersion(scheme, groupVersion)
	return nil
}

func (in *RedisInstance) DeepCopyObject() runtime.Object { return in.DeepCopy() }

func (in *RedisInstance) DeepCopy() *RedisInstance {
	out := *in
	in.ObjectMeta.DeepCopyInto(&out.ObjectMeta)
	out.Status.Conditions = append([]metav1.Condition(nil), in.Status.Conditions...)
	return &out
}

func (in *RedisInstanceList) DeepCopyObject() runtime.Object {
	out := *in
	out.Items = make([]RedisInstance, len(in.Items))
	for i := range in.Items {
		out.Items[i] = *in.Items[i].DeepCopy()
	}
	return &out
}

func setReady(instance *RedisInstance, status metav1.ConditionStatus, reason, message string) {
	meta.SetStatusCondition(&instance.Status.Conditions, metav1.Condition{
		Type:               "Ready",
		Status:             status,
		Reason:             reason,
		Message:            message,
		ObservedGeneration: instance.Generation,
	})
}
