//! A consumer in its group: what it is given, what it gives back, and where it stands ([`GroupMetadata`], [`Answers`]).

use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rdkafka::TopicPartitionList;
use rdkafka::bindings as sys;

use super::{Client, Entry, Outcome, Rebalance, c_string, check, check_error, entries, lock, text};

/// A consumer's part of [`Client`].
impl Client {
    /// The oldest rebalance that waits for an answer.
    pub fn rebalance(&self) -> Option<Rebalance> {
        lock(&self.hooks.rebalances).pop_front()
    }
    /// Joins the group and asks for a share of these topics.
    pub fn subscribe(&self, topics: &TopicPartitionList) -> Outcome<()> {
        // Sound: the list is copied.
        check(unsafe { sys::rd_kafka_subscribe(self.ptr(), topics.ptr()) })
    }
    /// Adds partitions, each read from its offset: the answer to [`Rebalance::Assign`].
    pub fn assign(&self, partitions: &TopicPartitionList) -> Outcome<()> {
        // Sound: the list is copied.
        check_error(unsafe { sys::rd_kafka_incremental_assign(self.ptr(), partitions.ptr()) })
    }
    /// Gives partitions back: the answer to [`Rebalance::Revoke`] and [`Rebalance::Lost`].
    pub fn unassign(&self, partitions: &TopicPartitionList) -> Outcome<()> {
        // Sound: the list is copied.
        check_error(unsafe { sys::rd_kafka_incremental_unassign(self.ptr(), partitions.ptr()) })
    }
    /// Reads exactly these partitions, without a group.
    pub fn read(&self, partitions: &TopicPartitionList) -> Outcome<()> {
        // Sound: the list is copied.
        check(unsafe { sys::rd_kafka_assign(self.ptr(), partitions.ptr()) })
    }
    /// Stops fetching; what was fetched and not taken is fetched again later.
    pub fn pause(&self, partitions: &TopicPartitionList) {
        // Sound: the list is changed in place. What cannot be paused is not ours any more.
        unsafe { sys::rd_kafka_pause_partitions(self.ptr(), partitions.ptr()) };
    }
    /// Fetches again.
    pub fn resume(&self, partitions: &TopicPartitionList) {
        // Sound: as above.
        unsafe { sys::rd_kafka_resume_partitions(self.ptr(), partitions.ptr()) };
    }
    /// The partition's end as the newest answer told it (the high watermark); negative if none came yet.
    pub fn high(&self, topic: &str, partition: i32) -> i64 {
        let Ok(topic) = c_string(topic) else { return -1 };
        let (mut low, mut high) = (-1, -1);
        // Sound: writes two numbers.
        unsafe {
            sys::rd_kafka_get_watermark_offsets(self.ptr(), topic.as_ptr(), partition, &raw mut low, &raw mut high);
        }
        high
    }
    /// Leaves the group, so that others take over at once. Waits until the broker knows, or cannot be told.
    pub fn close(&self) {
        self.hooks.closing.store(true, Ordering::Release);
        lock(&self.hooks.rebalances).clear();
        // Sound: serves callbacks until all partitions are given back.
        unsafe { sys::rd_kafka_consumer_close(self.ptr()) };
    }
    /// The group's state as this member knows it now; `None` while it has no place in it. (Brokers take a commit without a member
    /// for one of a job that shares with nobody, and would let a member that was thrown out write.)
    pub fn group_metadata(&self) -> Option<GroupMetadata> {
        // Sound: the copy is ours, and its parts are only read.
        unsafe {
            let place = NonNull::new(sys::rd_kafka_consumer_group_metadata(self.ptr())).map(GroupMetadata)?;
            let generation = sys::rd_kafka_consumer_group_metadata_generation_id(place.0.as_ptr());
            let member = text(sys::rd_kafka_consumer_group_metadata_member_id(place.0.as_ptr()));
            (generation >= 0 && !member.is_empty()).then_some(place)
        }
    }
    /// Commits positions, and waits until the group's coordinator has them.
    pub fn commit_now(&self, positions: &TopicPartitionList) -> Outcome<()> {
        // Sound: the list is copied.
        check(unsafe { sys::rd_kafka_commit(self.ptr(), positions.ptr(), 0) })
    }
}

/// Where the answers to a consumer's commits arrive.
#[derive(Debug)]
pub struct Answers {
    queue: NonNull<sys::rd_kafka_queue_t>,
    // Dropped after the queue.
    client: Arc<Client>,
}

// Sound: queues are locked inside librdkafka.
unsafe impl Send for Answers {}

impl Drop for Answers {
    fn drop(&mut self) {
        // Sound: our reference, given back once.
        unsafe { sys::rd_kafka_queue_destroy(self.queue.as_ptr()) };
    }
}

impl Answers {
    pub fn of(client: &Arc<Client>) -> Option<Self> {
        // Sound: the reference is ours.
        let queue = NonNull::new(unsafe { sys::rd_kafka_queue_new(client.ptr()) })?;
        Some(Self { queue, client: Arc::clone(client) })
    }

    pub fn client(&self) -> &Arc<Client> {
        &self.client
    }

    /// Commits positions without waiting for the answer.
    pub fn commit(&self, positions: &TopicPartitionList) -> Outcome<()> {
        // Sound: the list is copied; without a callback the answer is an event of the queue.
        check(unsafe {
            let (rk, list, queue) = (self.client.ptr(), positions.ptr(), self.queue.as_ptr());
            sys::rd_kafka_commit_queue(rk, list, queue, None, ptr::null_mut())
        })
    }

    /// The next answer that has come: the positions of its commit, each with what went wrong.
    pub fn take(&self) -> Option<Vec<Entry>> {
        // Sound: the event is ours until it is destroyed, after everything in it is copied.
        unsafe {
            let event = NonNull::new(sys::rd_kafka_queue_poll(self.queue.as_ptr(), 0))?.as_ptr();
            let mut all = entries(sys::rd_kafka_event_topic_partition_list(event));
            if let Err(failure) = check(sys::rd_kafka_event_error(event)) {
                all.iter_mut().for_each(|entry| entry.failure = Some(failure.clone()));
            }
            sys::rd_kafka_event_destroy(event);
            Some(all)
        }
    }
}

/// A member's place in its group at one moment: what lets a broker refuse a commit of one that was thought dead.
#[derive(Debug)]
pub struct GroupMetadata(pub NonNull<sys::rd_kafka_consumer_group_metadata_t>);

// Sound: it is data that nobody changes.
unsafe impl Send for GroupMetadata {}
unsafe impl Sync for GroupMetadata {}

impl Drop for GroupMetadata {
    fn drop(&mut self) {
        // Sound: ours, destroyed once.
        unsafe { sys::rd_kafka_consumer_group_metadata_destroy(self.0.as_ptr()) };
    }
}

impl GroupMetadata {
    /// That of nobody in particular: for jobs whose inputs are not shared.
    pub fn of_group(group: &str) -> Option<Self> {
        let group = c_string(group).ok()?;
        // Sound: the name is copied.
        NonNull::new(unsafe { sys::rd_kafka_consumer_group_metadata_new(group.as_ptr()) }).map(Self)
    }
}
