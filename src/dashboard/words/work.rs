//! What the pages about jobs and clients say.

texts! {
    /// What the pages about jobs and clients say.
    Work {
        no_jobs: "No jobs. A redrive of many dead letters is one; start it from the dead letters of a group.", "没有任务。批量重投死信即为任务，可从消费组的死信页面开始。";
        job: "Job", "任务";
        progress: "Progress", "进度";
        moved: "Moved", "已移动";
        failed: "Failed", "失败";
        left: "Left", "剩余时间";
        started: "Started", "开始";
        ended: "Ended", "结束";
        older: "Older jobs", "更早的任务";
        redrive_of: "Redrive of {0}", "{0} 的重投";
        to: "To", "目标";
        back: "back to the group", "回到消费组";
        looked: "Looked at", "已查看";
        of: "{0} of {1}", "{0} / {1}";
        rate: "Rate", "速率";
        per_second: "{0}/s", "{0}/秒";
        at_most: "at most {0}/s", "最多 {0}/秒";
        takes: "Takes", "范围";
        takes_all: "All dead letters of the group that were there when it started.", "开始时该消费组的全部死信。";
        cancel_job: "Cancel this job", "取消此任务";
        stays_moved: "What it has moved stays moved.", "已移动的不会退回。";
        show: "Show", "显示";
        nobody: "Nobody is connected.", "没有客户端连接。";
        listed_for: "Clients over HTTP are listed for a minute after their last receive.", "HTTP 客户端在最后一次接收后保留一分钟。";
        client: "Client", "客户端";
        kind: "Kind", "类型";
        address: "Address", "地址";
        last_heard: "Last heard", "最后活动";
        credit: "Credit", "额度";
        waiting: "Waiting", "等待中";
        action: "Action", "操作";
        slow: "slow", "缓慢";
        disconnect: "Disconnect", "断开";
        clients_about:
            "Credit is how many messages a socket may still get. A slow client leaves unread what waits for it. \
             Who is disconnected gives its leases back and may come again.",
            "额度是连接还可接收的消息数。缓慢的客户端不读取等待它的消息。断开后租约会归还，客户端可以重新连接。";
        more_clients: "More clients", "更多客户端";
        no_client: "This client is not there, or not any more.", "没有这个客户端，或已离开。";
        no_socket:
            "This client speaks plain HTTP: between two calls there is nothing to disconnect.",
            "此客户端使用普通 HTTP：两次调用之间没有可断开的连接。";
    }
}
