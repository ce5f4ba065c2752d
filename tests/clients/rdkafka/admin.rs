//! Administration, as far as the crate has it.

use anyhow::{Context, anyhow};
use bytes::Buf;
use rdkafka::{
    Offset,
    admin::{
        AdminClient, AdminOptions, AlterConfig, NewPartitions, NewTopic, ResourceSpecifier, TopicReplication,
    },
    client::DefaultClientContext,
    consumer::Consumer,
    error::RDKafkaErrorCode,
    groups::GroupList,
};
use serde_json::{Value, json};

use super::{Driver, WITHIN, groups::Member, records::take};

const INVALID_CONFIG: i32 = 40;

fn options() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(WITHIN)).operation_timeout(Some(WITHIN))
}

/// The one answer of a call.
fn one<T>(mut answers: Vec<T>) -> anyhow::Result<T> {
    answers.pop().context("an answer")
}

/// The code of the error that it must have ended in.
fn refused<T, N>(answer: Result<T, (N, RDKafkaErrorCode)>) -> anyhow::Result<i32> {
    match answer {
        Ok(_) => Err(anyhow!("it was not refused")),
        Err((_, code)) => Ok(code as i32),
    }
}

fn accepted<T>(answer: Result<T, (String, RDKafkaErrorCode)>) -> anyhow::Result<T> {
    answer.map_err(|(what, code)| anyhow!("{what}: {code:?}"))
}

impl Driver {
    fn admin(&self) -> anyhow::Result<AdminClient<DefaultClientContext>> {
        Ok(self.config().create()?)
    }

    pub(super) async fn create_topic(&self) -> anyhow::Result<Value> {
        let admin = self.admin()?;
        let a = &self.arguments;
        let topic = NewTopic::new(&a.topic, a.partitions, TopicReplication::Fixed(a.replication));
        let topic = a.configs.iter().fold(topic, |topic, (name, value)| topic.set(name, value));
        let create = async |options: AdminOptions| one(admin.create_topics([&topic], &options).await?);
        accepted(create(options().validate_only(true)).await?)?;
        accepted(create(options()).await?)?;
        Ok(json!({"again": refused(create(options()).await?)?}))
    }

    pub(super) fn describe_topics(&self) -> anyhow::Result<Value> {
        let client = self.assigned(Offset::Beginning)?;
        let all = client.fetch_metadata(None, WITHIN)?;
        let listed = all.topics().iter().any(|t| t.name() == self.arguments.topic);
        let described = client.fetch_metadata(Some(&self.arguments.topic), WITHIN)?;
        let partitions = described.topics()[0].partitions().iter().map(|p| {
            let (replicas, isr) = (p.replicas().len(), p.isr().len());
            json!({"partition": p.id(), "leader": p.leader(), "replicas": replicas, "isr": isr})
        });
        Ok(json!({"listed": listed, "partitions": partitions.collect::<Vec<Value>>()}))
    }

    pub(super) async fn configs(&self) -> anyhow::Result<Value> {
        let admin = self.admin()?;
        let a = &self.arguments;
        let topic = ResourceSpecifier::Topic(&a.topic);
        let value = async || -> anyhow::Result<String> {
            let described = one(admin.describe_configs([&topic], &options()).await?)?;
            let described = described.map_err(|code| anyhow!("DescribeConfigs: {code:?}"))?;
            described.get(&a.config).and_then(|c| c.value.clone()).context("the config")
        };
        let alter = async |set: Option<&str>| {
            let alter = AlterConfig::new(topic);
            let alter = set.into_iter().fold(alter, |alter, value| alter.set(&a.config, value));
            one(admin.alter_configs([&alter], &options()).await?)
        };
        let told = |answer: rdkafka::admin::AlterConfigsResult| answer.map_err(|(_, code)| code);
        let default = value().await?;
        told(alter(Some(&a.value)).await?).map_err(|code| anyhow!("AlterConfigs: {code:?}"))?;
        let altered = value().await?;
        // The crate loses the error of a single resource: that nothing has changed tells of it.
        told(alter(Some(&a.wrong)).await?).map_err(|code| anyhow!("AlterConfigs: {code:?}"))?;
        let wrong = (value().await? == altered).then_some(INVALID_CONFIG);
        told(alter(None).await?).map_err(|code| anyhow!("AlterConfigs: {code:?}"))?;
        Ok(json!({"default": default, "altered": altered, "wrong": wrong, "reset": value().await?}))
    }

    pub(super) async fn create_partitions(&self) -> anyhow::Result<Value> {
        let admin = self.admin()?;
        let more = NewPartitions::new(&self.arguments.topic, self.arguments.partitions as usize);
        let add = async || one(admin.create_partitions([&more], &options()).await?);
        accepted(add().await?)?;
        Ok(json!({"again": refused(add().await?)?}))
    }

    pub(super) async fn delete_records(&self) -> anyhow::Result<Value> {
        let before = self.place(Offset::Offset(self.arguments.before))?;
        let deleted = self.admin()?.delete_records(&before, &options()).await?;
        let deleted = &deleted.elements()[0];
        deleted.error()?;
        let first = take(&self.assigned(Offset::Beginning)?, 1)?;
        Ok(json!({"low": deleted.offset().to_raw(), "first": rdkafka::Message::offset(&first[0])}))
    }

    pub(super) async fn delete_topic(&self) -> anyhow::Result<Value> {
        let admin = self.admin()?;
        let delete = async || one(admin.delete_topics(&[&self.arguments.topic], &options()).await?);
        accepted(delete().await?)?;
        Ok(json!({"again": refused(delete().await?)?}))
    }

    fn groups(&self, group: Option<&str>) -> anyhow::Result<GroupList> {
        Ok(self.admin()?.inner().fetch_group_list(group, WITHIN)?)
    }

    fn is_listed(&self) -> anyhow::Result<bool> {
        Ok(self.groups(None)?.groups().iter().any(|g| g.name() == self.arguments.group))
    }

    pub(super) fn list_groups(&self) -> anyhow::Result<Value> {
        let _member = self.only_member()?;
        Ok(json!({"listed": self.is_listed()?}))
    }

    pub(super) fn describe_groups(&self) -> anyhow::Result<Value> {
        let _member = self.only_member()?;
        let list = self.groups(Some(&self.arguments.group))?;
        let group = list.groups().first().context("the group")?;
        let members = group.members().iter().map(|m| assigned_to(m.assignment().unwrap_or_default()));
        let members: Vec<Vec<i32>> = members.collect::<anyhow::Result<_>>()?;
        Ok(json!({"state": group.state().to_uppercase(), "members": members}))
    }

    pub(super) async fn delete_groups(&self) -> anyhow::Result<Value> {
        let admin = self.admin()?;
        let delete = async || one(admin.delete_groups(&[&self.arguments.group], &options()).await?);
        let member: Member = self.only_member()?;
        let busy = refused(delete().await?)?;
        drop(member);
        accepted(delete().await?)?;
        Ok(json!({"busy": busy, "listed": self.is_listed()?}))
    }
}

/// The partitions in a classic member's assignment: its version, then for each topic its name and partitions.
fn assigned_to(mut assignment: &[u8]) -> anyhow::Result<Vec<i32>> {
    let mut partitions = Vec::new();
    assignment.try_get_i16()?;
    for _ in 0..assignment.try_get_i32()? {
        let name_bytes = usize::try_from(assignment.try_get_i16()?)?;
        assignment = assignment.get(name_bytes..).context("a topic's name")?;
        for _ in 0..assignment.try_get_i32()? {
            partitions.push(assignment.try_get_i32()?);
        }
    }
    Ok(partitions)
}
