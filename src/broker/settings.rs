//! Making, changing and deleting topics and groups. A condition is checked in the very draft that decides the change.

use std::sync::Arc;

use crate::machine::{Candidates, Expected, PutDone, PutMode, Version};
use crate::model::{GroupName, GroupSettings, Start, TopicName, TopicSettings};

use super::error::BrokerError;
use super::handle::Broker;
use super::look::{find_group, find_topic};

impl Broker {
    /// The settings of a topic and their version.
    ///
    /// # Errors
    /// `TopicNotFound`.
    pub fn topic_settings(&self, name: &TopicName) -> Result<(TopicSettings, Version), BrokerError> {
        self.core.machine.read(|machine| {
            let (id, topic) = find_topic(machine, name)?;
            Ok((topic.settings.clone(), topic.version(id)))
        })
    }

    /// The settings of a group and their version, without counting anything.
    ///
    /// # Errors
    /// `GroupNotFound`.
    pub fn group_settings(&self, name: &GroupName) -> Result<(Arc<GroupSettings>, Version), BrokerError> {
        self.core.machine.read(|machine| {
            let (id, group) = find_group(machine, name)?;
            Ok((group.settings.clone(), group.version(id)))
        })
    }

    /// Makes a topic or replaces its settings, if what is there is as `expected`.
    ///
    /// # Errors
    /// See [`BrokerError`].
    pub async fn put_topic(
        &self,
        name: TopicName,
        settings: TopicSettings,
        expected: Expected,
    ) -> Result<PutDone, BrokerError> {
        let put = self.decide(0, move |draft| {
            draft.expect_topic(&name, &expected)?;
            draft.put_topic(name.clone(), settings.clone(), PutMode::Upsert)
        });
        Ok(put.await?.0)
    }

    /// Deletes a topic, if it is as `expected`; one that holds messages only when `confirmed`.
    ///
    /// # Errors
    /// See [`BrokerError`].
    pub async fn delete_topic(
        &self,
        name: TopicName,
        confirmed: bool,
        expected: Expected,
    ) -> Result<(), BrokerError> {
        let deleted = self.decide(0, move |draft| {
            // What is not there is simply not there, whatever was expected of it.
            draft.find_topic(&name)?;
            draft.expect_topic(&name, &expected)?;
            draft.delete_topic(&name, confirmed)
        });
        deleted.await.map(|_| ())
    }

    /// Makes a group or replaces its settings, if what is there is as `expected`. A topic that it names and that is
    /// missing is made when `auto_create` and the node's own setting say so.
    ///
    /// # Errors
    /// See [`BrokerError`].
    pub async fn put_group(
        &self,
        name: GroupName,
        settings: GroupSettings,
        expected: Expected,
        auto_create: bool,
    ) -> Result<PutDone, BrokerError> {
        let auto_create = auto_create && self.core.options.auto_create_topics;
        let candidates = match settings.start {
            Start::Time(time) => {
                self.offsets_at(settings.subscriptions.iter().map(|subscription| &subscription.topic), time)
                    .await?
            }
            Start::Earliest | Start::Latest => Candidates::default(),
        };
        let put = self.decide(0, move |draft| {
            draft.expect_group(&name, &expected)?;
            draft.put_group(name.clone(), settings.clone(), (PutMode::Upsert, auto_create), &candidates)
        });
        Ok(put.await?.0)
    }

    /// Deletes a group, if it is as `expected`; one with lag or dead letters only when `confirmed`.
    ///
    /// # Errors
    /// See [`BrokerError`].
    pub async fn delete_group(
        &self,
        name: GroupName,
        confirmed: bool,
        expected: Expected,
    ) -> Result<(), BrokerError> {
        let deleted = self.decide(0, move |draft| {
            draft.find_group(&name)?;
            draft.expect_group(&name, &expected)?;
            draft.delete_group(&name, confirmed)
        });
        deleted.await.map(|_| ())
    }
}
