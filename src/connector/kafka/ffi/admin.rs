//! What an admin asks: topics, their settings, offsets, positions of groups. Each call blocks until its answer or `wait` is over.

use std::collections::BTreeMap;
use std::ffi::{c_char, c_int};
use std::ptr::{self, NonNull};
use std::time::Duration;

use rdkafka::TopicPartitionList;
use rdkafka::bindings as sys;
use rdkafka::types::{RDKafkaErrorCode as Code, RDKafkaRespErr as RespErr};

use super::client::TopicMetadata;
use super::{Client, Entry, Failure, Outcome, c_string, check, check_error, entries, entry, millis, slice, text};

/// An admin's part of [`Client`].
impl Client {
    /// All topics. Asking for all never creates one, whatever the brokers' settings.
    pub fn topics(&self, wait: Duration) -> Outcome<Vec<TopicMetadata>> {
        self.revive();
        let mut metadata: *const sys::rd_kafka_metadata = ptr::null();
        // Sound: on success the metadata are ours and freed below, after everything in them is copied.
        unsafe {
            check(sys::rd_kafka_metadata(self.ptr(), 1, ptr::null_mut(), &raw mut metadata, millis(wait)))?;
            let all = &*metadata;
            let topics = slice(all.topics.cast_const(), usize::try_from(all.topic_cnt).unwrap_or(0));
            let topics = topics.iter().map(|topic| {
                let count = usize::try_from(topic.partition_cnt).unwrap_or(0);
                let partitions = slice(topic.partitions.cast_const(), count);
                let replicas = partitions.first().map_or(0, |p| p.replica_cnt);
                TopicMetadata {
                    name: text(topic.topic),
                    partitions: topic.partition_cnt,
                    replication: i16::try_from(replicas).unwrap_or(i16::MAX),
                    ready: count > 0 && partitions.iter().all(|p| p.leader >= 0),
                }
            });
            let topics = topics.collect();
            sys::rd_kafka_metadata_destroy(metadata);
            Ok(topics)
        }
    }

    /// Sends one administrative request and reads its answer while it lives.
    fn ask<T>(
        &self,
        operation: sys::rd_kafka_admin_op_t,
        wait: Duration,
        send: impl FnOnce(*mut sys::rd_kafka_AdminOptions_t, *mut sys::rd_kafka_queue_t) -> Outcome<()>,
        read: impl FnOnce(*mut sys::rd_kafka_event_t) -> Outcome<T>,
    ) -> Outcome<T> {
        // Sound: options, queue and event are made and destroyed here, and the closures borrow them.
        unsafe {
            let options = sys::rd_kafka_AdminOptions_new(self.ptr(), operation);
            let queue = sys::rd_kafka_queue_new(self.ptr());
            let mut reason = [0 as c_char; 256];
            sys::rd_kafka_AdminOptions_set_request_timeout(options, millis(wait), reason.as_mut_ptr(), reason.len());
            let outcome = send(options, queue).and_then(|()| {
                // The request ends by its own timeout; a little more and it can only be a mistake.
                let event = sys::rd_kafka_queue_poll(queue, millis(wait + Duration::from_secs(2)));
                if event.is_null() {
                    return Err(Failure::of(RespErr::RD_KAFKA_RESP_ERR__TIMED_OUT));
                }
                let outcome = match check(sys::rd_kafka_event_error(event)) {
                    Ok(()) => read(event),
                    Err(failure) => {
                        let said = text(sys::rd_kafka_event_error_string(event));
                        Err(if said.is_empty() { failure } else { Failure { text: said, ..failure } })
                    }
                };
                sys::rd_kafka_event_destroy(event);
                outcome
            });
            sys::rd_kafka_queue_destroy(queue);
            sys::rd_kafka_AdminOptions_destroy(options);
            outcome
        }
    }

    /// Creates a topic; `None` leaves the number to the brokers.
    pub fn create_topic(
        &self,
        name: &str,
        partitions: Option<i32>,
        replication: Option<i16>,
        config: &BTreeMap<String, String>,
        wait: Duration,
    ) -> Outcome<()> {
        let c_name = c_string(name)?;
        let settings = config.iter().map(|(k, v)| Ok((c_string(k)?, c_string(v)?))).collect::<Outcome<Vec<_>>>()?;
        let send = |options: *mut sys::rd_kafka_AdminOptions_t, queue: *mut sys::rd_kafka_queue_t| unsafe {
            let mut reason = [0 as c_char; 256];
            let replication = replication.map_or(-1, c_int::from);
            let (size, partitions) = (reason.len(), partitions.unwrap_or(-1));
            let topic = sys::rd_kafka_NewTopic_new(c_name.as_ptr(), partitions, replication, reason.as_mut_ptr(), size);
            let Some(topic) = NonNull::new(topic) else {
                return Err(Failure::new(Code::InvalidTopic, text(reason.as_ptr())));
            };
            let mut outcome = Ok(());
            for (name, value) in &settings {
                let set = check(sys::rd_kafka_NewTopic_set_config(topic.as_ptr(), name.as_ptr(), value.as_ptr()));
                outcome = outcome.and(set);
            }
            if outcome.is_ok() {
                sys::rd_kafka_AdminOptions_set_operation_timeout(options, millis(wait), reason.as_mut_ptr(), size);
                let mut topics = [topic.as_ptr()];
                sys::rd_kafka_CreateTopics(self.ptr(), topics.as_mut_ptr(), 1, options, queue);
            }
            sys::rd_kafka_NewTopic_destroy(topic.as_ptr());
            outcome
        };
        let read = |event| unsafe {
            let mut count = 0;
            let result = sys::rd_kafka_event_CreateTopics_result(event);
            topic_results(sys::rd_kafka_CreateTopics_result_topics(result, &raw mut count), count)
        };
        self.ask(sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_CREATETOPICS, wait, send, read)
    }

    /// Deletes a topic.
    pub fn delete_topic(&self, name: &str, wait: Duration) -> Outcome<()> {
        let name = c_string(name)?;
        let send = |options: *mut sys::rd_kafka_AdminOptions_t, queue: *mut sys::rd_kafka_queue_t| unsafe {
            let mut reason = [0 as c_char; 256];
            sys::rd_kafka_AdminOptions_set_operation_timeout(options, millis(wait), reason.as_mut_ptr(), reason.len());
            let mut topics = [sys::rd_kafka_DeleteTopic_new(name.as_ptr())];
            sys::rd_kafka_DeleteTopics(self.ptr(), topics.as_mut_ptr(), 1, options, queue);
            sys::rd_kafka_DeleteTopic_destroy(topics[0]);
            Ok(())
        };
        let read = |event| unsafe {
            let mut count = 0;
            let result = sys::rd_kafka_event_DeleteTopics_result(event);
            topic_results(sys::rd_kafka_DeleteTopics_result_topics(result, &raw mut count), count)
        };
        self.ask(sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DELETETOPICS, wait, send, read)
    }

    /// Whether the brokers tell of a topic: what keeps them from it is the failure. Asking never creates it.
    pub fn describe_topic(&self, name: &str, wait: Duration) -> Outcome<()> {
        let name = c_string(name)?;
        let send = |options: *mut sys::rd_kafka_AdminOptions_t, queue: *mut sys::rd_kafka_queue_t| unsafe {
            let mut names = [name.as_ptr()];
            let topics = sys::rd_kafka_TopicCollection_of_topic_names(names.as_mut_ptr(), 1);
            sys::rd_kafka_DescribeTopics(self.ptr(), topics, options, queue);
            sys::rd_kafka_TopicCollection_destroy(topics);
            Ok(())
        };
        let read = |event| unsafe {
            let mut count = 0;
            let result = sys::rd_kafka_event_DescribeTopics_result(event);
            let topics = sys::rd_kafka_DescribeTopics_result_topics(result, &raw mut count);
            for topic in slice(topics.cast_const(), count) {
                // The error stays the event's.
                if let Some(error) = sys::rd_kafka_TopicDescription_error(*topic).as_ref() {
                    check(sys::rd_kafka_error_code(error))?;
                }
            }
            Ok(())
        };
        self.ask(sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS, wait, send, read)
    }

    /// The settings of topics, by topic and name, defaults included; none where our principal may not know them.
    pub fn settings(&self, topics: &[&str], wait: Duration) -> Outcome<BTreeMap<String, BTreeMap<String, String>>> {
        if topics.is_empty() {
            return Ok(BTreeMap::new());
        }
        let names = topics.iter().map(|name| c_string(name)).collect::<Outcome<Vec<_>>>()?;
        let send = |options: *mut sys::rd_kafka_AdminOptions_t, queue: *mut sys::rd_kafka_queue_t| unsafe {
            let kind = sys::rd_kafka_ResourceType_t::RD_KAFKA_RESOURCE_TOPIC;
            let mut resources: Vec<_> =
                names.iter().map(|name| sys::rd_kafka_ConfigResource_new(kind, name.as_ptr())).collect();
            sys::rd_kafka_DescribeConfigs(self.ptr(), resources.as_mut_ptr(), resources.len(), options, queue);
            sys::rd_kafka_ConfigResource_destroy_array(resources.as_mut_ptr(), resources.len());
            Ok(())
        };
        let read = |event| unsafe {
            let mut count = 0;
            let result = sys::rd_kafka_event_DescribeConfigs_result(event);
            let resources = sys::rd_kafka_DescribeConfigs_result_resources(result, &raw mut count);
            let mut all = BTreeMap::new();
            for resource in slice(resources.cast_const(), count) {
                match check(sys::rd_kafka_ConfigResource_error(*resource)) {
                    Ok(()) => {}
                    // Not ours to know.
                    Err(failure) if failure.code == Code::TopicAuthorizationFailed => {
                        all.insert(text(sys::rd_kafka_ConfigResource_name(*resource)), BTreeMap::new());
                        continue;
                    }
                    // A topic that was deleted meanwhile has no settings; it is left out.
                    Err(_) => continue,
                }
                let mut count = 0;
                let settings = sys::rd_kafka_ConfigResource_configs(*resource, &raw mut count);
                let of_entry = |entry: &*const sys::rd_kafka_ConfigEntry_t| {
                    (text(sys::rd_kafka_ConfigEntry_name(*entry)), text(sys::rd_kafka_ConfigEntry_value(*entry)))
                };
                let settings = slice(settings.cast_const(), count).iter().map(of_entry).collect();
                all.insert(text(sys::rd_kafka_ConfigResource_name(*resource)), settings);
            }
            Ok(all)
        };
        self.ask(sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS, wait, send, read)
    }

    /// Offsets of partitions, where each entry of `wanted` holds a time in milliseconds, or -1 for the end (with
    /// `committed` that of what is decided, else that of the log), or -2 for the beginning. An answer of -1 means that no record is
    /// as young as the time.
    pub fn offsets(&self, wanted: &TopicPartitionList, committed: bool, wait: Duration) -> Outcome<Vec<Entry>> {
        let level = match committed {
            true => sys::rd_kafka_IsolationLevel_t::RD_KAFKA_ISOLATION_LEVEL_READ_COMMITTED,
            false => sys::rd_kafka_IsolationLevel_t::RD_KAFKA_ISOLATION_LEVEL_READ_UNCOMMITTED,
        };
        let send = |options: *mut sys::rd_kafka_AdminOptions_t, queue: *mut sys::rd_kafka_queue_t| unsafe {
            check_error(sys::rd_kafka_AdminOptions_set_isolation_level(options, level))?;
            sys::rd_kafka_ListOffsets(self.ptr(), wanted.ptr(), options, queue);
            Ok(())
        };
        let read = |event| unsafe {
            let mut count = 0;
            let result = sys::rd_kafka_event_ListOffsets_result(event);
            let infos = sys::rd_kafka_ListOffsets_result_infos(result, &raw mut count);
            let infos = slice(infos.cast_const(), count).iter();
            let partition = |info: &*const _| sys::rd_kafka_ListOffsetsResultInfo_topic_partition(*info).as_ref();
            Ok(infos.filter_map(partition).map(|raw| entry(raw)).collect())
        };
        self.ask(sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_LISTOFFSETS, wait, send, read)
    }

    /// What a group committed of these partitions. While a transaction of it is undecided, its partitions answer with
    /// `UnstableOffsetCommit`.
    pub fn committed(&self, group: &str, of: &TopicPartitionList, wait: Duration) -> Outcome<Vec<Entry>> {
        let group = c_string(group)?;
        let send = |options: *mut sys::rd_kafka_AdminOptions_t, queue: *mut sys::rd_kafka_queue_t| unsafe {
            check_error(sys::rd_kafka_AdminOptions_set_require_stable_offsets(options, 1))?;
            let mut asked = [sys::rd_kafka_ListConsumerGroupOffsets_new(group.as_ptr(), of.ptr().cast_const())];
            sys::rd_kafka_ListConsumerGroupOffsets(self.ptr(), asked.as_mut_ptr(), 1, options, queue);
            sys::rd_kafka_ListConsumerGroupOffsets_destroy(asked[0]);
            Ok(())
        };
        let read = |event| unsafe {
            let mut count = 0;
            let result = sys::rd_kafka_event_ListConsumerGroupOffsets_result(event);
            group_results(sys::rd_kafka_ListConsumerGroupOffsets_result_groups(result, &raw mut count), count)
        };
        self.ask(sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_LISTCONSUMERGROUPOFFSETS, wait, send, read)
    }

    /// Sets what a group without members committed.
    pub fn set_committed(&self, group: &str, offsets: &TopicPartitionList, wait: Duration) -> Outcome<Vec<Entry>> {
        let group = c_string(group)?;
        let send = |options: *mut sys::rd_kafka_AdminOptions_t, queue: *mut sys::rd_kafka_queue_t| unsafe {
            let mut asked = [sys::rd_kafka_AlterConsumerGroupOffsets_new(group.as_ptr(), offsets.ptr())];
            sys::rd_kafka_AlterConsumerGroupOffsets(self.ptr(), asked.as_mut_ptr(), 1, options, queue);
            sys::rd_kafka_AlterConsumerGroupOffsets_destroy(asked[0]);
            Ok(())
        };
        let read = |event| unsafe {
            let mut count = 0;
            let result = sys::rd_kafka_event_AlterConsumerGroupOffsets_result(event);
            group_results(sys::rd_kafka_AlterConsumerGroupOffsets_result_groups(result, &raw mut count), count)
        };
        self.ask(sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_ALTERCONSUMERGROUPOFFSETS, wait, send, read)
    }

    /// Deletes a group without members, with all it committed.
    pub fn delete_group(&self, group: &str, wait: Duration) -> Outcome<()> {
        let group = c_string(group)?;
        let send = |options: *mut sys::rd_kafka_AdminOptions_t, queue: *mut sys::rd_kafka_queue_t| unsafe {
            let mut groups = [sys::rd_kafka_DeleteGroup_new(group.as_ptr())];
            sys::rd_kafka_DeleteGroups(self.ptr(), groups.as_mut_ptr(), 1, options, queue);
            sys::rd_kafka_DeleteGroup_destroy(groups[0]);
            Ok(())
        };
        let read = |event| unsafe {
            let mut count = 0;
            let result = sys::rd_kafka_event_DeleteGroups_result(event);
            group_results(sys::rd_kafka_DeleteGroups_result_groups(result, &raw mut count), count).map(|_| ())
        };
        self.ask(sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DELETEGROUPS, wait, send, read)
    }
}

unsafe fn topic_results(results: *mut *const sys::rd_kafka_topic_result_t, count: usize) -> Outcome<()> {
    for result in unsafe { slice(results.cast_const(), count) } {
        unsafe {
            check(sys::rd_kafka_topic_result_error(*result)).map_err(|failure| {
                let said = text(sys::rd_kafka_topic_result_error_string(*result));
                if said.is_empty() { failure } else { Failure { text: said, ..failure } }
            })?;
        }
    }
    Ok(())
}

unsafe fn group_results(results: *mut *const sys::rd_kafka_group_result_t, count: usize) -> Outcome<Vec<Entry>> {
    let mut all = Vec::new();
    for result in unsafe { slice(results.cast_const(), count) } {
        unsafe {
            if let Some(error) = sys::rd_kafka_group_result_error(*result).as_ref() {
                let said = text(sys::rd_kafka_error_string(error));
                return Err(Failure::new(sys::rd_kafka_error_code(error).into(), said));
            }
            all.extend(entries(sys::rd_kafka_group_result_partitions(*result)));
        }
    }
    Ok(all)
}
