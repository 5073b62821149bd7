//! What a process and its children cost: CPU time, memory, threads. From /proc.

use std::fs;
use std::path::PathBuf;

use anyhow::Context;
use anyhow::Result;
use anyhow::ensure;
use tokio::process::Command;

/// A process, with whatever processes it has started.
#[derive(Debug, Clone, Copy)]
pub struct Process {
    /// Its id.
    pub id: u32,
}

impl Process {
    /// The CPU time of all their threads so far, in nanoseconds.
    pub fn cpu(self) -> Result<u64> {
        let mut sum = 0;
        for id in self.tree()? {
            let Ok(tasks) = fs::read_dir(format!("/proc/{id}/task")) else { continue };
            for task in tasks.flatten() {
                // A thread that ends meanwhile is not counted.
                let Ok(text) = fs::read_to_string(task.path().join("schedstat")) else { continue };
                let ran = text.split_whitespace().next().and_then(|ran| ran.parse::<u64>().ok());
                sum += ran.context("schedstat begins with nanoseconds")?;
            }
        }
        Ok(sum)
    }

    /// The memory that is theirs, in KiB: what they share counts by its part (PSS).
    pub fn memory(self) -> Result<u64> {
        let mut sum = 0;
        for id in self.tree()? {
            let file = PathBuf::from(format!("/proc/{id}/smaps_rollup"));
            let text = fs::read_to_string(&file)
                .with_context(|| format!("cannot read {}", file.display()))?;
            let line = text
                .lines()
                .find_map(|line| line.strip_prefix("Pss:"))
                .context("smaps_rollup has Pss")?;
            sum += line.trim().trim_end_matches(" kB").parse::<u64>()?;
        }
        Ok(sum)
    }

    /// Asks it to end.
    pub async fn terminate(self) -> Result<()> {
        let id = self.id.to_string();
        let sent = Command::new("kill").args(["-TERM", &id]).status().await?;
        ensure!(sent.success(), "process {id} is not there");
        Ok(())
    }

    fn tree(self) -> Result<Vec<u32>> {
        let mut parents = Vec::new();
        for entry in fs::read_dir("/proc")?.flatten() {
            let Some(id) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok())
            else {
                continue;
            };
            let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else { continue };
            // The name before it is in brackets, and may hold anything.
            let after = stat.rsplit_once(')').map_or("", |(_, after)| after);
            let parent =
                after.split_whitespace().nth(1).and_then(|parent| parent.parse::<u32>().ok());
            parents.extend(parent.map(|parent| (parent, id)));
        }
        let mut tree = vec![self.id];
        let mut next = 0;
        while let Some(of) = tree.get(next).copied() {
            tree.extend(parents.iter().filter(|(parent, _)| *parent == of).map(|(_, id)| id));
            next += 1;
        }
        Ok(tree)
    }
}
